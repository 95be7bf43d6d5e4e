"""CPCA_TF-3: 3 slices, transferred from a 2D run at epoch 10 and fine-tuned.

python train.py --config configs/cpca3_transfer.py --workdir runs/cpca3_transfer \
    --config.data.store=STORE --config.transfer.run=runs/cpca1

The deck reports 30.00 dB, SSIM 0.9031, perceptual 2.01 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    return base.transferred(base.get_config(), slices=3)
