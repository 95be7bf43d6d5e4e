"""CPCA-3: 3 neighbouring slices, 3D from scratch, with the deck's numbers.

python train.py --config configs/cpca3.py --workdir runs/cpca3 --config.data.store=STORE
On two cores: --config configs/cpca3.py:cpu

The deck reports 29.84 dB, SSIM 0.9004, perceptual 2.06 on its Mayo test slices.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "deck") -> ConfigDict:
    """Return the deck's recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("deck", "cpu"))
    config = base.get_config()
    config.model.slices = 3
    return base.adversarial_for_two_cores(config) if variant == "cpu" else config
