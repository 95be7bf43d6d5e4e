"""RED-CNN (Chen et al. 2017b): residual encoder-decoder, mean squared error.

python train.py --config configs/red_cnn.py --workdir runs/red_cnn --config.data.store=STORE
On two cores: --config configs/red_cnn.py:cpu

The deck reports 31.39 dB, SSIM 0.9194, perceptual 4.31 on its Mayo test slices. Patches of 55x55
and the rate from 1e-4 "slowly decreased" (to 1e-5 here) are the paper's. Its batch and length could
not be found and are ldct-benchmark's. Of the paper's augmentation (rotations by 45 degrees, flips,
scaling by 2 and 1/2), only flips and right angles are used, because resampling changes the noise.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "published") -> ConfigDict:
    """Return the published recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("published", "cpu"))
    config = base.pixels_only(base.get_config())
    config.model.name = "red_cnn"
    config.data.patch = 55
    config.data.batch = 73
    config.data.augmentation = "dihedral"
    config.optim.learning_rate = 1e-4
    config.optim.decay = "exponential"
    config.optim.half_life = 28.0  # a tenth after 93 epochs
    config.train.epochs = 93
    if variant == "cpu":
        config = base.pixels_for_two_cores(config)
        config.data.batch = 8
        config.optim.learning_rate = 3e-4
        config.train.epochs = 6
        config.train.validation_slices = 4  # a slice takes seconds
        config.optim.half_life = 2.0
    return config
