"""Every field that can be configured: type, default, meaning, source of the default, bounds.

The program works with these dataclasses; `configs/base.py` and `--help` are made from them. As a
source, "deck" is the talk whose experiments this project repeats (Shan et al. 2017, "Transfer
Learning for Low-Dose CT Denoising"); "released code" is that of its later publication (CPCE).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cpca_jax.runs.bounds import setting
from cpca_jax.values import (
    MOMENTUM,
    NAMES,
    NONE_OR_SEVERAL,
    NOT_NEGATIVE,
    ODD,
    ONE_OR_MORE,
    PATTERNS,
    POSITIVE,
    SEED,
    SHARE,
    WINDOW,
    one_of,
)

# The precisions of convolutions; parameters, losses and Adam are always float32.
PRECISIONS = ("float32", "bfloat16")
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The scans and patches that are trained on."""

    store: str = setting("", "The store to train on, made by prepare; required.")
    kernels: tuple[str, ...] = setting((), "The kernels to use; empty for all.", bound=NAMES)
    window_hu: tuple[float, float] = setting(
        (-300.0, 300.0),
        "The HU window that is mapped to [0, 1].",
        source="released code",
        bound=WINDOW,
    )
    patch: int = setting(
        64, "The rows and columns of a training patch.", source="deck", bound=POSITIVE
    )
    margin: int = setting(
        0,
        "The pixels at each side of a patch that only give context; losses and critic do not see "
        "them. For networks published without padding.",
        bound=NOT_NEGATIVE,
    )
    centres: int = setting(
        1, "The neighbouring full-dose slices of a patch; more for 3D critics.", bound=ODD
    )
    batch: int = setting(
        128, "The patches of a batch.", source="released code; the deck is silent", bound=POSITIVE
    )
    augmentation: str = setting(
        "none", "The mirroring and turning: none, flips or dihedral.", source="released code"
    )
    air_hu: float = setting(
        -500.0,
        "The HU at or below which a full-dose pixel counts as air.",
        source="released DU-GAN code, the closest of the same group",
    )
    air_fraction: float = setting(
        0.85, "The share of air from which a patch is refused.", source="DU-GAN code", bound=SHARE
    )
    train_split: str = setting("train", "The split to train on.", bound=one_of(*SPLITS))
    validation_split: str = setting(
        "validation", "The split to validate on; empty for none.", bound=one_of(*SPLITS, "")
    )
    folds: int = setting(
        0,
        "The number of parts of train_split's patients for cross-validation: one part validates, "
        "the others train; 0 for none.",
        bound=NONE_OR_SEVERAL,
        added=True,
    )
    fold: int = setting(
        0, "The index of the part that validates, below data.folds.", bound=NOT_NEGATIVE, added=True
    )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The generator: its name, its slices, and its own fields."""

    name: str = setting("cpca", "The network: a row of the models.", source="deck")
    slices: int = setting(
        1, "The neighbouring slices that one denoised slice is made from.", bound=ODD
    )
    fields: Mapping[str, Any] = setting({}, "The network's own fields, as its module lists them.")


@dataclasses.dataclass(frozen=True)
class CriticConfig:
    """The critic: its name and its own fields."""

    name: str = setting("wgan_vgg", "The critic: a row of the critics.")
    fields: Mapping[str, Any] = setting({}, "The critic's own fields, as its module lists them.")


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the generator's terms, and the critic's penalty."""

    adversarial: float = setting(
        1.0, "The adversarial weight; 0 for no critic.", source="deck", bound=NOT_NEGATIVE
    )
    perceptual: float = setting(
        0.1, "The weight of the perceptual term, lambda_p.", source="deck", bound=NOT_NEGATIVE
    )
    mse: float = setting(0.0, "The weight of the mean squared error.", bound=NOT_NEGATIVE)
    l1: float = setting(0.0, "The weight of the mean absolute error.", bound=NOT_NEGATIVE)
    adversarial_form: str = setting(
        "wasserstein", "The adversarial term: a row of the adversarial forms.", source="deck"
    )
    penalty: str = setting(
        "two_sided", "The critic's regulariser: a row of the penalties.", source="deck"
    )
    penalty_weight: float = setting(
        10.0, "The weight of the penalty.", source="released code", bound=NOT_NEGATIVE
    )
    critic_steps: int = setting(
        4,
        "The critic updates before each generator update, each on a fresh batch.",
        source="released code",
        bound=ONE_OR_MORE,
    )


@dataclasses.dataclass(frozen=True)
class PerceptualConfig:
    """The feature network of the perceptual term and metric."""

    network: str = setting(
        "vgg19",
        "The network: vgg19, vgg16 (which comes with the installation) or random (for tests).",
        source="deck",
    )
    weights: str = setting(
        "", "The file of its weights (docs/feature_network.md); empty for the one in the cache."
    )
    tap: str = setting("relu5_4", "The layer whose features are compared.", source="released code")
    reduction: str = setting(
        "mean",
        "The reduction over features: mean, or sum, which is the deck's formula to the letter.",
        source="released code",
    )
    norm: str = setting("l2", "The distance between features: l2 or l1.", source="deck")


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Adam and its schedule."""

    learning_rate: float = setting(
        1e-4, "The generator's rate before decay.", source="deck, from scratch", bound=POSITIVE
    )
    critic_learning_rate: float = setting(
        1e-4, "The critic's rate before decay.", source="deck, from scratch", bound=POSITIVE
    )
    beta1: float = setting(
        0.9, "Adam's decay of the first moment.", source="released code", bound=MOMENTUM
    )
    beta2: float = setting(
        0.999, "Adam's decay of the second moment.", source="released code", bound=MOMENTUM
    )
    epsilon: float = setting(
        1e-8, "Adam's term against division by zero.", source="released code", bound=POSITIVE
    )
    weight_decay: float = setting(0.0, "The generator kernels' L2 decay.", bound=NOT_NEGATIVE)
    decay: str = setting(
        "inverse_epoch",
        "The fall of the rates: constant, inverse_epoch, inverse_sqrt_epoch or exponential.",
        source='the deck: "decays as epoch goes"; the form is the released code\'s',
    )
    half_life: float = setting(
        1.0, 'The epochs in which the decay "exponential" halves the rates.', bound=POSITIVE
    )
    first_epoch: int = setting(
        0, "The epoch number of the first step, for the decay.", bound=NOT_NEGATIVE
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The length of the run and what happens along it."""

    seed: int = setting(0, "The seed of weights, batches and penalties.", bound=SEED)
    epochs: int = setting(40, "The epochs of the run.", source="released code", bound=NOT_NEGATIVE)
    steps_per_epoch: int = setting(
        1000,
        "The generator updates of an epoch.",
        source="the deck's 128K patches in batches of 128",
        bound=POSITIVE,
    )
    steps: int = setting(0, "The generator updates; 0 to count in epochs.", bound=NOT_NEGATIVE)
    log_every: int = setting(20, "The steps from one log line to the next.", bound=ONE_OR_MORE)
    checkpoint_every: int = setting(
        0, "The steps between checkpoints; 0 for once an epoch.", bound=NOT_NEGATIVE
    )
    keep_checkpoints: int = setting(3, "The newest checkpoints to keep.", bound=ONE_OR_MORE)
    keep_every: int = setting(
        10_000, "The steps whose multiples are also kept; 0 for none.", bound=NOT_NEGATIVE
    )
    validation_slices: int = setting(
        64, "The slices to validate on, over all their series; 0 for all.", bound=NOT_NEGATIVE
    )
    frozen: tuple[str, ...] = setting(
        (), "Parameters of the generator that stay: regular expressions.", bound=PATTERNS
    )

    @property
    def total_steps(self) -> int:
        """The number of generator updates of the whole run."""
        return self.steps or self.epochs * self.steps_per_epoch


@dataclasses.dataclass(frozen=True)
class TransferConfig:
    """The 2D run to start from, if training does not start from scratch."""

    run: str = setting("", "The folder of a finished 2D run to start from; empty for none.")
    step: int = setting(0, "The step of that run; 0 for its last checkpoint.", bound=NOT_NEGATIVE)
    rule: str = setting(
        "centre", "The rule that inflates a 2D kernel: centre is [0, H, 0].", source="deck"
    )
    fresh: tuple[str, ...] = setting(
        (), "The parameters that start fresh instead: regular expressions.", bound=PATTERNS
    )
    critic: str = setting(
        "carry",
        "The critic at the start: carry (that run's critic) or fresh.",
        source="deck: do not break the balance between G and D",
    )
    optimizer: str = setting(
        "carry", "Adam's moments of the players that are carried: carry or fresh."
    )
    critic_warmup_steps: int = setting(
        0, "The critic-only updates before fine-tuning, for a new critic.", bound=NOT_NEGATIVE
    )


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """The definition of validation scores."""

    protocol: str = setting("deck", "The protocol that defines PSNR and SSIM.", source="deck")
    batch: int = setting(4, "The number of slices denoised at once.", bound=ONE_OR_MORE)


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """The way in which a step is computed; its result is the same except for rounding."""

    devices: int = setting(
        0, "The devices that share each batch; 0 for all.", bound=NOT_NEGATIVE, added=True
    )
    precision: str = setting(
        "float32",
        "The precision of the convolutions; bfloat16 is faster on accelerators.",
        bound=one_of(*PRECISIONS),
        added=True,
    )
    accumulate: int = setting(
        1,
        "The parts of a batch computed one after the other; a divisor of data.batch.",
        bound=ONE_OR_MORE,
        added=True,
    )
    rematerialise: bool = setting(
        False, "Compute maps again in the backward pass, to save memory.", added=True
    )
    resident: bool = setting(
        False, "Keep all volumes on the device and cut patches there.", added=True
    )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment, complete and checked."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    critic: CriticConfig = dataclasses.field(default_factory=CriticConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    perceptual: PerceptualConfig = dataclasses.field(default_factory=PerceptualConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    transfer: TransferConfig = dataclasses.field(default_factory=TransferConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    compute: ComputeConfig = dataclasses.field(default_factory=ComputeConfig)
    plugins: tuple[str, ...] = setting(
        (), "The plug-ins used in training; recorded by --plugin, never loaded.", added=True
    )
