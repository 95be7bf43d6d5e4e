"""CNN-Cascade (Wu et al. 2017): four residual networks, trained one after the other.

python train.py --config configs/cascade.py --workdir runs/cascade --config.data.store=STORE
On two cores: --config configs/cascade.py:cpu

Each stage is a run of its own (runs/cascade/stage1, ..., the last in runs/cascade) and sees the
slices that are hardest for the stages before. The numbers are those of the released sample script;
the number of stages in the paper could not be found. Intensities are in the deck's window, where
the original has raw stored values.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "published") -> ConfigDict:
    """Return the published recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("published", "cpu"))
    config = base.pixels_only(base.get_config())
    config.model.name = "cascade"
    config.data.patch = 40
    config.data.batch = 100
    config.data.augmentation = "flips"
    config.data.air_fraction = 1.0  # random positions, even if nearly all is air
    config.model.fields.hardest = 0.05  # from the second stage on
    config.optim.learning_rate = 1e-3
    config.optim.weight_decay = 1e-4
    config.model.fields.stages = 4
    config.train.epochs = 55
    if variant == "cpu":
        config = base.pixels_for_two_cores(config)
        config.data.patch = 40
        config.model.fields.hardest = 0.25  # of few slices
        config.model.fields.stages = 2
        config.train.epochs = 3
        config.optim.half_life = 2.0
    return config
