"""CPCA-1: single slices (2D), with the deck's numbers.

python train.py --config configs/cpca1.py --workdir runs/cpca1 --config.data.store=STORE
On two cores: --config configs/cpca1.py:cpu

The latter is smaller in four ways: patches of 48, batches of 8, a critic half as wide, and VGG16
(which comes with the installation) at relu3_3. See docs/methods.md.

The deck reports 29.62 dB, SSIM 0.8976, perceptual 2.37 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "deck") -> ConfigDict:
    """Return the deck's recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("deck", "cpu"))
    config = base.get_config()
    return base.adversarial_for_two_cores(config) if variant == "cpu" else config
