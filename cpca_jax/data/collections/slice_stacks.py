"""Scans with one file for each slice, which has the number of the slice in its name."""

import abc
import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Num

from cpca_jax.data.collections.arrays import ArrayScan
from cpca_jax.errors import VolumeError


class SliceFile(NamedTuple):
    """The facts that the path of a slice tells.

    Attributes:
        folder: the folder that it lies in.
        name: the name of its scan.
        level: its dose level; "" where nothing tells it.
        number: the number of the slice; consecutive numbers are neighbours.
        path: the file.
    """

    folder: Path
    name: str
    level: str
    number: int
    path: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceStack(ArrayScan):
    """A scan with one file for each slice."""

    @abc.abstractmethod
    def slice_values(self, path: Path) -> Num[np.ndarray, "y x"]:
        """Return the stored values of one slice.

        Raises:
            VolumeError: the file cannot be read.
        """

    def values(self) -> Num[np.ndarray, "z y x"]:
        """Return all slices, in the order of their numbers."""
        slices = [self.slice_values(path) for path in self.arrays]
        if len({one.shape for one in slices}) > 1:
            raise VolumeError(f"{self.arrays[0].name}: changed while being read; start again")
        return np.stack(slices)


def sort_slices(files: Iterable[SliceFile]) -> list[list[SliceFile]]:
    """Sort slices into scans of one folder, name and dose level, by ascending number."""
    scans: dict[tuple[Path, str, str], list[SliceFile]] = defaultdict(list)
    for file in files:
        scans[file.folder, file.name, file.level].append(file)
    return [sorted(scans[key]) for key in sorted(scans)]


def stack_shape(slices: Iterable[tuple[SliceFile, tuple[int, ...]]]) -> tuple[int, int, int]:
    """Return the shape (z, y, x) of a stack.

    Args:
        slices: the files by ascending number, each with its shape (y, x).

    Raises:
        VolumeError: a number occurs twice, or a slice has another shape than the first one.
    """
    (first, (y, x)), *others = slices
    last = first
    for file, shape in others:
        if file.number == last.number:
            raise VolumeError(
                f"{last.path.name} and {file.path.name}: both are slice {file.number}, must be one"
            )
        if shape != (y, x):
            raise VolumeError(
                f"{file.path.name}: is {shape[0]} x {shape[1]}, must be {y} x {x} as "
                f"{first.path.name} is"
            )
        last = file
    return (len(others) + 1, y, x)
