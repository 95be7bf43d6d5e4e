"""Models of machines, from which predictions take seconds: rates, devices, links.

The accelerators' rates come from data sheets. `measurements` makes the models of machines whose
speed was measured.
"""

import dataclasses
import math

from benchmarks.measuring.work import Work

# Assumed of an accelerator: a training step starts some hundreds of kernels.
LEAST = 1e-3
# The shares of an accelerator's peak FLOP/s and bytes/s. They are this project's aim and not
# measured; whoever has an accelerator measures them (docs/benchmarks.md) and replaces them.
ARITHMETIC_SHARE, MEMORY_SHARE = 0.35, 0.7


@dataclasses.dataclass(frozen=True)
class MachineModel:
    """A machine, as far as predictions need it.

    Attributes:
        name: its name in the tables.
        flops: FLOP/s that one device reaches.
        bandwidth: bytes/s of its memory; infinite where `flops` was measured, which includes the
            memory.
        width: bytes of a number in its networks.
        devices: the number of devices that share a batch.
        link: bytes/s from one device to the next; infinite for one device.
        together: trainings that run side by side, each on devices of its own.
        least: the shortest time of any work, in seconds, for the start of its kernels.
    """

    name: str
    flops: float
    bandwidth: float = math.inf
    width: int = 4
    devices: int = 1
    link: float = math.inf
    together: int = 1
    least: float = 0.0

    @property
    def measured(self) -> bool:
        """True if the rate is a measurement, which includes the memory."""
        return math.isinf(self.bandwidth)

    def seconds(self, work: Work, *, exchanged: int = 0) -> float:
        """Return the time of work that the devices share evenly, and of the exchange after it.

        t = max(FLOPs / (n f), bytes (width / 4) / (n b), least) + 2 exchanged / link: a ring
        sends and receives each gradient about once. The formula assumes no overlap.

        Args:
            work: counted in float32.
            exchanged: bytes of gradients, which stay float32.
        """
        arithmetic = work.flops / (self.devices * self.flops)
        memory = work.bytes * self.width / 4 / (self.devices * self.bandwidth)
        return max(arithmetic, memory, self.least) + 2 * exchanged / self.link


# NVIDIA's data sheet of the H100 SXM: 989 TFLOP/s in dense bfloat16, 3.35 TB/s.
GPU = MachineModel(
    "one H100", ARITHMETIC_SHARE * 989e12, MEMORY_SHARE * 3.35e12, width=2, least=LEAST
)
# Google's documentation of the v5e: 197 TFLOP/s, 819 GB/s, 1600 Gbit/s between chips, 256 in a pod.
# Eight of them share a training's batch.
POD = MachineModel(
    "a pod of 256 v5e",
    ARITHMETIC_SHARE * 197e12,
    MEMORY_SHARE * 819e9,
    width=2,
    devices=8,
    link=200e9,
    together=32,
    least=LEAST,
)
