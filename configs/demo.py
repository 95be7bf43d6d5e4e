"""The demo's two trainings, small enough for two cores: minutes instead of days.

python demo.py runs both, on phantoms. By hand:
python train.py --config configs/demo.py --workdir RUN --config.data.store=STORE
python train.py --config configs/demo.py:transfer --workdir RUN3 --config.data.store=STORE \
    --config.transfer.run=RUN

It is the deck's method, reduced only in size: a critic a quarter as wide, small patches and
batches, and VGG16 (which comes with the installation) at a shallow layer.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "scratch") -> ConfigDict:
    """Return CPCA-1 from scratch, or with ":transfer" CPCA-3 fine-tuned from it."""
    base.require_variant(__file__, variant, ("scratch", "transfer"))
    config = base.for_two_cores(base.get_config())
    config.data.batch = 8
    config.critic.fields.features = (16, 16, 32, 32, 64, 64)
    config.critic.fields.dense = 64
    config.perceptual.tap = "relu2_2"
    config.train.epochs = 4
    config.train.steps_per_epoch = 80
    config.train.validation_slices = 4
    if variant == "transfer":
        config.model.slices = 3
        config.train.epochs = 2
        config.train.steps_per_epoch = 60
        config.optim.first_epoch = 4
        config.optim.learning_rate *= 0.5  # the deck halves the rate for fine-tuning
        config.optim.critic_learning_rate *= 0.5
    return config
