"""The settings that experiments share: the deck's numbers, and sizes for two cores.

The deck is the 2017 talk "Transfer Learning for Low-Dose CT Denoising" of Shan et al. Every field,
with the source of its default, is in cpca_jax/runs/settings.py and in `cpca train --help`; the
other files change a few of them.
"""

from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from cpca_jax.errors import ConfigError
from cpca_jax.registry import near
from cpca_jax.runs import config as fields


def get_config() -> ConfigDict:
    """Return CPCA-1 from scratch, as in the deck."""
    return fields.defaults()


def require_variant(file: str, variant: str, known: Iterable[str]) -> None:
    """Refuse a variant that an experiment does not have.

    Args:
        file: The `__file__` of the experiment.
        variant: The word given after the colon.
        known: The variants of the experiment.

    Raises:
        ConfigError: The variant is unknown; the message names the known ones and the nearest one.
    """
    known = list(known)
    if variant not in known:
        raise ConfigError(
            f"--config: {Path(file).stem}:{variant}: '{variant}' is not one of its variants "
            f"{', '.join(known)}{near(variant, known)}"
        )


def transferred(config: ConfigDict, *, slices: int) -> ConfigDict:
    """Return the deck's fine-tuning of a 2D run taken at epoch 10.

    The rate starts at the deck's 0.5e-4 and continues the decay of the 2D training:
    5.5e-4 / (epoch + 1) from epoch 10. (The released code has 5e-4, so 4.5e-5 at first.)
    """
    config.model.slices = slices
    config.transfer.step = 10 * config.train.steps_per_epoch
    config.optim.first_epoch = 10
    config.optim.learning_rate = 5.5e-4
    config.optim.critic_learning_rate = 5.5e-4
    return config


def transferred_for_two_cores(config: ConfigDict, *, slices: int) -> ConfigDict:
    """Return a short fine-tuning of a run of ":cpu", from its last checkpoint.

    As in the deck, the base rate is halved and continues the decay of the 2D training.
    """
    config = adversarial_for_two_cores(config)
    config.model.slices = slices
    config.optim.first_epoch = config.train.epochs
    config.optim.learning_rate *= 0.5
    config.optim.critic_learning_rate *= 0.5
    config.train.epochs = 2
    return config


def pixels_only(config: ConfigDict) -> ConfigDict:
    """Return the objective with only mean squared error: no critic, no feature network."""
    config.loss.adversarial = 0.0
    config.loss.perceptual = 0.0
    config.loss.mse = 1.0
    config.optim.decay = "constant"
    return config


def for_two_cores(config: ConfigDict) -> ConfigDict:
    """Return the deck's objective for minutes, not days; the caller sets batch, critic and tap."""
    config.data.patch = 48
    config.loss.critic_steps = 2
    config.loss.perceptual = 1.0  # a shallow layer's distances are smaller
    config.perceptual.network = "vgg16"
    config.optim.learning_rate = 1e-3
    config.optim.critic_learning_rate = 2e-4
    config.optim.beta1 = 0.5
    config.optim.decay = "inverse_sqrt_epoch"
    return config


def adversarial_for_two_cores(config: ConfigDict) -> ConfigDict:
    """Return a short adversarial training: a critic half as wide, VGG16 at a shallower layer."""
    config = for_two_cores(config)
    config.data.batch = 8
    config.critic.fields.features = (32, 32, 64, 64, 128, 128)
    config.critic.fields.dense = 256
    config.perceptual.tap = "relu3_3"
    return short(config)


def pixels_for_two_cores(config: ConfigDict) -> ConfigDict:
    """Return a short training by pixel loss; the feature network is only a metric here."""
    config.data.patch = 48
    config.data.batch = 16
    config.perceptual.network = "vgg16"
    config.perceptual.tap = "relu3_3"
    config.optim.learning_rate = 1e-3
    config.optim.decay = "exponential"
    config.optim.half_life = 4.0
    return short(config)


def short(config: ConfigDict) -> ConfigDict:
    """Return a training of 400 steps, validated on few slices."""
    config.train.epochs = 4
    config.train.steps_per_epoch = 100
    config.train.validation_slices = 11
    return config
