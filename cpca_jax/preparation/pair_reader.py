"""Each pair of a collection: read, checked, simulated where asked for, and written.

One pair at a time is in memory. What an interrupted run has written already is taken over if
nothing that it was made from has changed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence

from cpca_jax import __version__
from cpca_jax.data.collections import doses, pairs
from cpca_jax.data.collections.pairs import Pair
from cpca_jax.data.dicom.series import Series
from cpca_jax.data.store.manifest import SeriesInfo
from cpca_jax.data.store.writer import StoreWriter
from cpca_jax.errors import DicomError, VolumeError
from cpca_jax.simulation import low_dose
from cpca_jax.types import SliceHU, VolumeHU

Read = Callable[[Series], VolumeHU]


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a pair.

    Attributes:
        label: patient, kernel, thickness.
        info: what is known about it; its split is not.
        noise: of full and low dose in soft tissue, HU; None without soft tissue.
        refused: why it cannot be used, "" where it can.
        calibration: how the scanner was fitted, where the low dose is simulated.
        taken_over: whether an interrupted run had finished it.
        example: full and low dose of its middle slice, where asked for.
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
    """Reads pairs one after another.

    Attributes:
        read: the pixels of a series.
        writer: of the store; None to check only.
        simulate_dose: share of the full dose to simulate; None to read the low dose.
        seed: of simulated noise.
        examples: of how many usable pairs a slice is kept.
    """

    read: Read
    writer: StoreWriter | None
    simulate_dose: float | None
    seed: int
    examples: int

    def outcomes(self, chosen: Sequence[Pair]) -> Iterator[Outcome]:
        """What becomes of each pair, in order."""
        taken: set[str] = set()
        shown = 0
        for pair in chosen:
            info = self._info(_free_name(pair.full, taken), pair.full)
            try:
                outcome = self._outcome(pair, info, keep=shown < self.examples)
            except (DicomError, VolumeError) as error:
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
                low_sources=[header.sop_key for header in pair.low.headers],
                full_sources=[header.sop_key for header in pair.full.headers],
                key=key,
                note={"noise": noise, "calibration": calibration},
            )
        example = (full[middle].copy(), low[middle].copy()) if keep else None
        return Outcome(pair.label, info, noise, calibration=calibration, example=example)

    def _volumes(self, pair: Pair) -> tuple[VolumeHU, VolumeHU, doses.Noise | None, str]:
        """Full dose, low dose, the noise of both, and how a simulation was calibrated."""
        full = self.read(pair.full)
        if self.simulate_dose is None:
            low = self.read(pair.low)
            return full, low, doses.check_doses(pair.label, full, low), ""
        low, fitted = low_dose.lower_dose(full, pair.full, dose=self.simulate_dose, seed=self.seed)
        return full, low, doses.measure_noise(full, low), fitted.note

    def _info(self, name: str, one: Series) -> SeriesInfo:
        first = one.first
        return SeriesInfo(
            name=name,
            patient=first.patient_key,
            split=pairs.TRAIN,  # until all usable patients are known
            kernel=first.kernel,
            thickness_mm=first.thickness_mm,
            spacing_mm=first.spacing_mm,
            positions_mm=one.positions_mm,
            simulated=self.simulate_dose is not None,
            dose=self.simulate_dose or doses.dose_fraction(first.patient_key),
        )

    def _key(self, pair: Pair) -> str:
        """A digest of everything that a stored pair is made from."""
        digest = hashlib.sha256(json.dumps([__version__, self.simulate_dose, self.seed]).encode())
        for side in (pair.full, pair.low):
            for header in side.headers:
                try:
                    stat = header.path.stat()
                except OSError:
                    raise DicomError(
                        f"{header.path.name}: vanished while being read; start again"
                    ) from None
                row = (str(header.path), stat.st_size, stat.st_mtime_ns, repr(header))
                digest.update(repr(row).encode())
        return digest.hexdigest()


def _free_name(one: Series, taken: set[str]) -> str:
    plain = one.file_name(patient=one.first.patient_key)
    names = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)
