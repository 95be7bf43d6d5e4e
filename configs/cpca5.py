"""CPCA-5: 5 neighbouring slices, 3D from scratch, with the deck's numbers.

python train.py --config configs/cpca5.py --workdir runs/cpca5 --config.data.store=STORE

The deck reports 30.00 dB, SSIM 0.9023, perceptual 1.99 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    config = base.get_config()
    config.model.slices = 5
    return config
