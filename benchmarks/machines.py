"""Machines to predict for: one whose speed was measured, and accelerators by their data sheets."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from benchmarks.counting import Work

# Of an accelerator, taken: a training step is some hundreds of kernels.
LEAST = 1e-3
# Of an accelerator's arithmetic and of its memory's rate: what this project aims at, not what was
# measured. Whoever has one measures it (docs/benchmarks.md) and knows better.
ARITHMETIC_SHARE, MEMORY_SHARE = 0.35, 0.7


@dataclasses.dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes:
        name: as in the tables.
        flops: that a device gets done in a second.
        bandwidth: bytes of its memory in a second; infinite where `flops` was measured and has it
            in it.
        width: bytes of a number in its networks.
        devices: that share a batch.
        link: bytes in a second from a device to the next; infinite for one device.
        together: trainings that run side by side, on devices of their own.
        least: seconds that nothing is done faster than, for the starting of its kernels.
    """

    name: str
    flops: float
    bandwidth: float = math.inf
    width: int = 4
    devices: int = 1
    link: float = math.inf
    together: int = 1
    least: float = 0.0

    def seconds(self, work: Work, *, exchanged: int = 0) -> float:
        """Time of work that the devices share evenly, and of adding up what they exchange.

        t = max(FLOPs / (n f), bytes (width / 4) / (n b), least) + 2 exchanged / link: a ring
        sends and receives each gradient about once. Nothing is taken to overlap.

        Args:
            work: counted in float32.
            exchanged: bytes of gradients, which stay float32.
        """
        arithmetic = work.flops / (self.devices * self.flops)
        memory = work.bytes * self.width / 4 / (self.devices * self.bandwidth)
        return max(arithmetic, memory, self.least) + 2 * exchanged / self.link


def measured(result: Mapping[str, Any]) -> tuple[Machine, Machine]:
    """The machine of a result of run_all, by its training step and by its CPCA-1.

    They differ: gradients of small convolutions are slower than the convolutions of a slice.
    """
    return _measured(result, "training_step"), _measured(result, "inference")


def _measured(result: Mapping[str, Any], benchmark: str) -> Machine:
    described, row = result["machine"], result["benchmarks"][benchmark]["rows"][0]
    name = f"{described['cores']} cores of {described['device']}"
    return Machine(name, 1e9 * row["GFLOP"] / row["JAX s"]["median"])


# NVIDIA's data sheet of the H100 SXM: 989 TFLOP/s in dense bfloat16, 3.35 TB/s.
GPU = Machine("one H100", ARITHMETIC_SHARE * 989e12, MEMORY_SHARE * 3.35e12, width=2, least=LEAST)
# Google's documentation of the v5e: 197 TFLOP/s, 819 GB/s, 1600 Gbit/s between chips, 256 in a pod.
# Eight of them share a training's batch.
POD = Machine(
    "a pod of 256 v5e",
    ARITHMETIC_SHARE * 197e12,
    MEMORY_SHARE * 819e9,
    width=2,
    devices=8,
    link=200e9,
    together=32,
    least=LEAST,
)
