"""The pairs of a collection: read, checked, simulated where asked for, and written.

One pair at a time is in memory. A series that an interrupted run has written already is taken over
if nothing that it was made from has changed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np

from cpca_jax import __version__
from cpca_jax.data.collections import doses, pairs
from cpca_jax.data.collections.pairs import Pair
from cpca_jax.data.scan import Scan, file_name
from cpca_jax.data.store.manifest import SeriesInfo
from cpca_jax.data.store.writer import StoreWriter
from cpca_jax.errors import ScanError
from cpca_jax.simulation import low_dose
from cpca_jax.types import SliceHU, VolumeHU


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The result for one pair.

    Attributes:
        label: patient, kernel, thickness.
        info: the facts about it, except for its split.
        noise: the noise of full and low dose in soft tissue, HU; None without soft tissue.
        refused: the reason why it cannot be used, "" where it can.
        calibration: the fit of the scanner, in words, where the low dose is simulated.
        taken_over: whether an interrupted run had finished it.
        example: the full and the low dose of its middle slice, where asked for.
    """

    label: str
    info: SeriesInfo
    noise: doses.Noise | None = None
    refused: str = ""
    calibration: str = ""
    taken_over: bool = False
    example: tuple[SliceHU, SliceHU] | None = None


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader of pairs, one after another.

    Attributes:
        writer: the writer of the store; None to check only.
        simulate_dose: the share of the full dose to simulate; None to read the low dose.
        seed: the seed of simulated noise.
        examples: the number of usable pairs whose middle slice is kept.
    """

    writer: StoreWriter | None
    simulate_dose: float | None
    seed: int
    examples: int

    def outcomes(self, chosen: Sequence[Pair]) -> Iterator[Outcome]:
        """Yield the result for each pair, in order."""
        taken: set[str] = set()
        shown = 0
        for pair in chosen:
            info = self._info(_free_name(pair.full, taken), pair.full)
            try:
                outcome = self._outcome(pair, info, keep=shown < self.examples)
            except ScanError as error:
                outcome = Outcome(pair.label, info, refused=str(error))
            if not outcome.refused:
                taken.add(info.name)
                shown += 1
            yield outcome

    def _outcome(self, pair: Pair, info: SeriesInfo, *, keep: bool) -> Outcome:
        key, middle = self._key(pair), len(info.positions_mm) // 2
        note = self.writer.take_over(key, info.name) if self.writer else None
        if self.writer and note is not None:
            example = self.writer.slice_of(info.name, middle) if keep else None
            noise = (note["noise"][0], note["noise"][1]) if note["noise"] else None
            calibration = str(note["calibration"])
            return Outcome(
                pair.label,
                info,
                noise,
                calibration=calibration,
                taken_over=True,
                example=example,
            )
        full, low, noise, calibration = self._volumes(pair)
        if self.writer:
            self.writer.add(
                info,
                low,
                full,
                low_sources=pair.low.sources(),
                full_sources=pair.full.sources(),
                key=key,
                note={"noise": noise, "calibration": calibration},
            )
        example = (full[middle].copy(), low[middle].copy()) if keep else None
        return Outcome(pair.label, info, noise, calibration=calibration, example=example)

    def _volumes(self, pair: Pair) -> tuple[VolumeHU, VolumeHU, doses.Noise | None, str]:
        """Return full dose, low dose, the noise of both, and the fit of a simulation in words."""
        full = _pixels(pair.full)
        if self.simulate_dose is None:
            low = _pixels(pair.low)
            return full, low, doses.check_doses(pair.label, full, low), ""
        low, fitted = low_dose.lower_dose(full, pair.full, dose=self.simulate_dose, seed=self.seed)
        return full, low, doses.measure_noise(full, low), fitted.note

    def _info(self, name: str, one: Scan) -> SeriesInfo:
        return SeriesInfo(
            name=name,
            patient=one.patient,
            split=pairs.TRAIN,  # until all usable patients are known
            kernel=one.kernel,
            thickness_mm=one.thickness_mm,
            spacing_mm=one.spacing_mm,
            positions_mm=one.positions_mm,
            placement=one.placement,
            simulated=self.simulate_dose is not None,
            dose=self.simulate_dose or doses.dose_fraction(one.patient),
        )

    def _key(self, pair: Pair) -> str:
        """Return a digest of everything that a stored pair is made from."""
        digest = hashlib.sha256(json.dumps([__version__, self.simulate_dose, self.seed]).encode())
        for side in (pair.full, pair.low):
            facts = [
                *(side.patient, side.kernel, side.thickness_mm, side.shape, side.spacing_mm),
                *(side.positions_mm, side.placement, side.dose_level, side.key),
            ]
            digest.update(json.dumps(facts).encode())
            for path in side.files:
                try:
                    stat = path.stat()
                except OSError:
                    raise ScanError(
                        f"{path.name}: vanished while being read; start again"
                    ) from None
                digest.update(repr((str(path), stat.st_size, stat.st_mtime_ns)).encode())
        return digest.hexdigest()


def _pixels(one: Scan) -> VolumeHU:
    """Read a scan; a user's own kind must keep the promises of `Scan.read`, too."""
    volume = one.read()
    if volume.dtype != np.int16 or volume.shape != one.shape:
        raise ScanError(
            f"{one.label}: read() gave {volume.dtype} {volume.shape}, must be int16 {one.shape}"
        )
    return volume


def _free_name(one: Scan, taken: set[str]) -> str:
    plain = file_name(one.patient, one.kernel, one.thickness_mm)
    names = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)
