"""A user's data set: files PATIENT_DOSE.myct, a line "z y x mm" and then int16 HU (z y x)."""

import dataclasses

import numpy as np

from cpca_jax.data.collections import sources
from cpca_jax.data.scan import FoundScans, ScanFacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class MyScan(ScanFacts):
    def read(self):
        values = self.files[0].read_bytes().split(b"\n", 1)[1]
        return np.frombuffer(values, "<i2").reshape(self.shape).astype(np.int16)


def scan_of(path, level):
    with path.open("rb") as file:
        z, y, x, step = file.readline().split()
    patient, dose = path.stem.split("_")
    return MyScan(
        patient=patient,
        shape=(int(z), int(y), int(x)),
        positions_mm=tuple(float(step) * k for k in range(int(z))),
        placement="measured",
        dose_level=level or dose,
        key=path.name,
        files=(path,),
    )


def find(root, *, listed, level, track):
    paths = [path for path in listed.paths if path.suffix == ".myct"]
    return FoundScans(tuple(scan_of(path, level) for path in paths))


sources.register("MyCT", sources.Collection(lambda path: path.suffix == ".myct", find))
