"""CPCA-3: 3 neighbouring slices, 3D from scratch, with the deck's numbers.

python train.py --config configs/cpca3.py --workdir runs/cpca3 --config.data.store=STORE

The deck reports 29.84 dB, SSIM 0.9004, perceptual 2.06 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    config = base.get_config()
    config.model.slices = 3
    return config
