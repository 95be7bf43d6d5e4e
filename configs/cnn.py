"""CNN (Chen et al. 2017a): three layers, mean squared error.

python train.py --config configs/cnn.py --workdir runs/cnn --config.data.store=STORE
On two cores: --config configs/cnn.py:cpu

Patches of 33x33 are the paper's; its rate, batch and length could not be found and are those of
ldct-benchmark's CNN-10. The window is the deck's, so that all methods of the table share it.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "published") -> ConfigDict:
    """Return the published recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("published", "cpu"))
    config = base.pixels_only(base.get_config())
    config.model.name = "cnn"
    config.data.patch = 33
    config.data.batch = 68
    config.optim.learning_rate = 1.5837e-4
    config.train.epochs = 86
    if variant == "cpu":
        config = base.pixels_for_two_cores(config)
        config.train.epochs = 8
    return config
