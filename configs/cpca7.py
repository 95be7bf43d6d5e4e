"""CPCA-7: 7 neighbouring slices, 3D from scratch, with the deck's numbers.

python train.py --config configs/cpca7.py --workdir runs/cpca7 --config.data.store=STORE

The deck reports 30.01 dB, SSIM 0.9029, perceptual 1.96 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    config = base.get_config()
    config.model.slices = 7
    return config
