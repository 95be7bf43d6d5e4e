"""The denoising of one DICOM series; reading, denoising and writing overlap."""

import dataclasses
import datetime
import re
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from cpca_jax import __version__
from cpca_jax.data.dicom import derived, series_checks
from cpca_jax.data.dicom.derived import Derivation, DerivedSeries, Reference
from cpca_jax.data.dicom.series import Series, read_again
from cpca_jax.data.dicom.slice_file import Slice
from cpca_jax.data.dicom.stored_values import denoised_values
from cpca_jax.denoising.before_after import EffectMeter
from cpca_jax.denoising.denoiser import Denoiser
from cpca_jax.denoising.streaming import Stopwatch, denoise_stream
from cpca_jax.runtime import logs

_SHOWN_SLICES = 3
ImageHU = Float32[np.ndarray, "y x"]
# The number of a slice, and the slice in HU before and after.
Shown = tuple[int, ImageHU, ImageHU]


def shown_places(count: int) -> set[int]:
    """Return the numbers of a few slices spread evenly over `count` slices."""
    return {round((k + 1) * count / (_SHOWN_SLICES + 1) - 0.5) for k in range(_SHOWN_SLICES)}


class SeriesPass:
    """The pass of one series from files through the network to files.

    Attributes:
        meter: The meter of noise and drift.
        clipped: The number of pixels whose values BitsStored cannot hold.
        implausible: The number of pixels of the source with HU that no CT scan has.
        shown: A few slices, each with its number and its HU before and after.
    """

    def __init__(self, model: Denoiser, one: Series, shared: DerivedSeries) -> None:
        self._model, self._one, self._shared = model, one, shared
        self.meter, self._watch = EffectMeter(), Stopwatch()
        self.clipped = self.implausible = 0
        self.shown: list[Shown] = []

    def run(self, folder: Path, name: str, *, batch: int) -> None:
        """Denoise the whole series and write it to `folder`."""
        headers, count = self._one.headers, len(self._one.headers)
        references = [derived.read_reference(header) for header in headers]
        places = shown_places(count)
        waiting: deque[Future[None]] = deque()
        stream = denoise_stream(
            self._model,
            lambda z: read_again(headers[z]),
            count,
            batch=batch,
            watch=self._watch,
        )
        with (
            ThreadPoolExecutor(1) as writer,
            logs.ProgressBar(name, count) as bar,
            self._watch.running("all"),
        ):
            for z, (image, after) in enumerate(stream):
                self._count(image, after)
                if z in places:
                    self.shown.append((z, image.hu, after))
                path = folder / f"{z + 1:05d}.dcm"
                used = self._used(z, references)
                waiting.append(writer.submit(self._write, path, image, after, used))
                if len(waiting) > 2 * batch:
                    waiting.popleft().result()
                bar.advance()
            for future in waiting:
                future.result()

    def measured(self) -> dict[str, Any]:
        """Return the measurements for the record of the series."""
        seconds = self._watch.seconds
        return {
            "slices_per_second": round(len(self._one.headers) / seconds["all"], 3),
            "seconds": {activity: round(spent, 3) for activity, spent in seconds.items()},
            "clipped_pixels": self.clipped,
            "implausible_pixels": self.implausible,
            "effect": dataclasses.asdict(self.meter.effect()),
        }

    def sentence(self) -> str:
        """Return the measurements as one line for the user."""
        effect, seconds = self.meter.effect(), self._watch.seconds
        busy = ", ".join(
            f"{activity} {100 * seconds[activity] / seconds['all']:.0f} %"
            for activity in ("reading", "network", "writing")
        )
        noise = "no soft tissue"
        if effect.noise_before_hu is not None:
            noise = f"noise {effect.noise_before_hu:.1f} -> {effect.noise_after_hu:.1f} HU"
        if "soft tissue" in effect.drift_hu:
            noise += f", soft tissue {effect.drift_hu['soft tissue']:+.1f} HU"
        count = len(self._one.headers)
        clipped = f", {self.clipped} pixels clipped to the stored range" if self.clipped else ""
        odd = f", {self.implausible} pixels of implausible HU" if self.implausible else ""
        rate = count / seconds["all"]
        return f"{count} slices, {noise}{clipped}{odd}, {rate:.2f} slices/s (busy: {busy})"

    def _count(self, image: Slice, after: ImageHU) -> None:
        self.meter.add(image.hu, after)
        self.implausible += series_checks.implausible_pixels(image)

    def _used(self, z: int, references: Sequence[Reference | None]) -> list[Reference]:
        half = self._model.slices // 2
        near = references[max(z - half, 0) : z + half + 1]
        return [reference for reference in near if reference]

    def _write(self, path: Path, image: Slice, after: ImageHU, used: list[Reference]) -> None:
        with self._watch.running("writing"):
            stored, clipped = denoised_values(image, after)
            self.clipped += clipped
            derived.write_derived(path, self._shared, image, stored, used=used)


def derived_series(
    model: Denoiser,
    one: Series,
    *,
    digest: str,
    created: datetime.datetime,
    keep_private: bool,
) -> DerivedSeries:
    """Return the description of their making that all slices of the denoised series share.

    Args:
        model: The denoiser.
        one: The source series.
        digest: The digest of all files of the source; it replaces UIDs that are missing.
        created: The date and time to write.
        keep_private: True to keep private elements.
    """
    first = one.first
    # The name goes into plain-text attributes, in whatever character set the source declares.
    name = re.sub(r"[^A-Za-z0-9._ -]", "-", model.name)
    neighbours = f"{model.slices} neighbouring slices each" if model.slices > 1 else "single slices"
    text = (
        f"Noise reduced by a neural network, cpca_jax {__version__}, model {name} "
        f"step {model.step} (weights and configuration {model.digest}), from {neighbours}"
    )
    derivation = Derivation(
        software=f"cpca_jax {__version__}",
        model=name,
        digest=model.digest,
        text=text,
        created=created,
        keep_private=keep_private,
    )
    alike = (first.kernel, first.thickness_mm, first.shape, first.spacing_mm, first.orientation)
    return DerivedSeries(derivation, repr(alike), digest)
