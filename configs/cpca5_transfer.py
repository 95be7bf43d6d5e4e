"""CPCA_TF-5: 5 slices, transferred from a 2D run at epoch 10 and fine-tuned.

python train.py --config configs/cpca5_transfer.py --workdir runs/cpca5_transfer \
    --config.data.store=STORE --config.transfer.run=runs/cpca1

The deck reports 30.04 dB, SSIM 0.9032, perceptual 1.90 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The experiment."""
    return base.transferred(base.get_config(), slices=5)
