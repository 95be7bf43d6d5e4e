"""CPCA-1: single slices (2D), with the deck's numbers.

python train.py --config configs/cpca1.py --workdir runs/cpca1 --config.data.store=STORE

The deck reports 29.62 dB, SSIM 0.8976, perceptual 2.37 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    return base.get_config()
