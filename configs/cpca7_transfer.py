"""CPCA_TF-7: 7 slices, transferred from a 2D run at epoch 10 and fine-tuned.

python train.py --config configs/cpca7_transfer.py --workdir runs/cpca7_transfer \
    --config.data.store=STORE --config.transfer.run=runs/cpca1

The deck reports 30.14 dB, SSIM 0.9045, perceptual 1.87 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    return base.transferred(base.get_config(), slices=7)
