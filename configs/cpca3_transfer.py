"""CPCA_TF-3: 3 slices, transferred from a 2D run at epoch 10 and fine-tuned.

python train.py --config configs/cpca3_transfer.py --workdir runs/cpca3_transfer \
    --config.data.store=STORE --config.transfer.run=runs/cpca1
On two cores: --config configs/cpca3_transfer.py:cpu, from a run of configs/cpca1.py:cpu

The deck reports 30.00 dB, SSIM 0.9031, perceptual 2.01 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "deck") -> ConfigDict:
    """Return the deck's recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("deck", "cpu"))
    config = base.get_config()
    if variant == "cpu":
        return base.transferred_for_two_cores(config, slices=3)
    return base.transferred(config, slices=3)
