"""MAP-NN style (Shan et al. 2019): CPCA with input shortcut, repeated with shared weights.

python train.py --config configs/map_nn.py --workdir runs/map_nn --config.data.store=STORE
On two cores: --config configs/map_nn.py:cpu

The weights of the terms, the rate and its decay are those of the released code, which also has an
edge loss of weight 50; that is left out here. The code's abdomen window is [-160, 240] HU.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "published") -> ConfigDict:
    """Return the published recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("published", "cpu"))
    config = base.get_config()
    config.model.name = "map_nn"
    config.data.window_hu = (-160.0, 240.0)
    config.loss.perceptual = 0.0
    config.loss.mse = 50.0
    config.optim.decay = "inverse_sqrt_epoch"
    config.train.epochs = 80
    if variant == "cpu":
        config = base.adversarial_for_two_cores(config)
        config.model.fields.repetitions = 3
        config.loss.perceptual = 0.0
    return config
