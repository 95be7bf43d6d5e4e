"""CPCA-1 at a size for two cores: the deck's objective, minutes instead of days.

python train.py --config configs/cpu.py --workdir runs/cpu --config.data.store=STORE

Smaller than the deck's in four ways: patches of 48, batches of 8, a critic half as wide, and VGG16
(which the installation brings) at relu3_3. See docs/methods.md.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    return base.adversarial_for_two_cores(base.get_config())
