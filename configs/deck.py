"""The deck's experiments as one: every training, table and figure of its slides.

python reproduce.py --config configs/deck.py:small --workdir DIR

The deck is the 2017 talk "Transfer Learning for Low-Dose CT Denoising" of Shan et al. ":demo" takes
minutes on two cores, on small phantoms; ":small" takes hours on two cores, on phantoms of 512x512;
":full" is of the deck's size, for a GPU or TPU.
"""

import dataclasses

from ml_collections import ConfigDict

from cpca_jax.configs import base, cascade, cnn, gan3d, red_cnn, wgan_vgg


@dataclasses.dataclass(frozen=True)
class Scale:
    """The sizes of the parts of a reproduction.

    Attributes:
        phantoms: The settings of the phantoms, as prepare.py --phantom takes them.
        epochs: The number of epochs of every training.
        first: The epoch of the 2D training at which fine-tuning begins.
        steps: The number of steps per epoch.
        deep: The numbers of slices of the 3D networks.
        listed: The methods without a row in the deck's table that get a row in ours.
        questions: True to run the trainings for the questions of the deck's discussion.
        observer: The scans of the detectability study.
        table_slices: The number of middle slices of each test patient in the table; 0 for all.
        weights: The values of lambda_p to try.
        folds: The number of folds of patients for lambda_p.
        sweep_epochs: The number of epochs of the trainings for lambda_p.
        published: True for trainings as published instead of sizes for two cores; each then has
            its own length, and `epochs`, `first` and `steps` are the deck's.
    """

    phantoms: dict[str, float]
    epochs: int
    first: int
    steps: int
    deep: tuple[int, ...]
    listed: tuple[str, ...]
    questions: bool
    observer: dict[str, int]
    table_slices: int
    weights: tuple[float, ...]
    folds: int
    sweep_epochs: int
    published: bool = False


SCALES = {
    "demo": Scale(
        {"count": 5, "test_count": 2, "validation_count": 1, "slices": 8, "size": 192},
        epochs=3,
        first=1,
        steps=8,
        deep=(3,),
        listed=(),
        questions=True,
        observer={"phantoms": 3, "slices": 3, "rois": 40, "readers": 6},
        table_slices=2,
        weights=(0.3, 3.0),
        folds=2,
        sweep_epochs=1,
    ),
    "small": Scale(
        {"count": 18, "test_count": 8, "validation_count": 2, "slices": 20, "size": 512},
        epochs=10,
        first=3,
        steps=60,
        deep=(3, 5, 7),
        listed=("CNN", "GAN-3D", "CNN-Cascade"),
        questions=True,
        observer={"phantoms": 8, "slices": 4, "rois": 60, "readers": 20},
        table_slices=4,
        weights=(0.2, 1.0, 5.0, 25.0),
        folds=3,
        sweep_epochs=2,
    ),
    "full": Scale(
        {"count": 14, "test_count": 6, "validation_count": 1, "slices": 200, "size": 512},
        epochs=40,
        first=10,
        steps=1000,
        deep=(3, 5, 7),
        listed=("CNN", "GAN-3D", "CNN-Cascade"),
        questions=True,
        observer={"phantoms": 20, "slices": 8, "rois": 60, "readers": 20},
        table_slices=0,
        weights=(0.01, 0.03, 0.1, 0.3, 1.0),
        folds=3,
        sweep_epochs=10,
        published=True,
    ),
}
# The other methods by their names in the deck, each with its own recipe.
OTHERS = {
    "RED-CNN": red_cnn,
    "WGAN-VGG": wgan_vgg,
    "CNN": cnn,
    "GAN-3D": gan3d,
    "CNN-Cascade": cascade,
}
# The Mayo slices that the deck shows are 1 mm thick.
INTERVAL_MM = 1.0


def get_config(name: str = "small") -> ConfigDict:
    """Return all trainings of one size, and the settings of the stages that use them."""
    base.require_variant(__file__, name, SCALES)
    scale = SCALES[name]
    deep = [f"{kind}-{i}" for i in scale.deep for kind in ("CPCA", "CPCA_TF")]
    rows = ["RED-CNN", "WGAN-VGG", "CPCA-1", *deep, *scale.listed]
    deepest = f"CPCA_TF-{scale.deep[-1]}"
    trainings = {row: _training(row, scale) for row in rows}
    questions = _questions(scale) if scale.questions else {}
    trainings |= questions
    return ConfigDict({
        "scale": name,
        "phantoms": scale.phantoms | {"dose": 0.25, "seed": 2017, "interval_mm": INTERVAL_MM},
        "trainings": {n: {"config": c, "source": source} for n, (c, source) in trainings.items()},
        "rows": tuple(rows),
        "questions": (f"CPCA_TF-{scale.deep[0]}", *(n for n in questions if "TF" in n)),
        "deep": scale.deep,
        "first": scale.first,
        "table_slices": scale.table_slices,
        "cases": ("RED-CNN", "WGAN-VGG", "CPCA-1", deepest),
        "detectability": {"radius_mm": (3.0,), "contrast_hu": (-30.0,)} | scale.observer,
        "sweep": _lambda(scale),
        # Scans to use instead of the phantoms: a folder for prepare.py --input.
        "scans": {"input": "", "test": (), "validation": ()},
        # Scans of single slices besides those, with their own 2D trainings and table.
        "real": {
            "input": "",
            "test": (),
            "validation": (),
            "rows": ("RED-CNN", "WGAN-VGG", "CPCA-1", *scale.listed[:1]),
        },
    })


def _lambda(scale: Scale) -> ConfigDict:
    """Return the cross-validation of lambda_p: CPCA-1 with each weight, each fold held out."""
    config = _adversarial(1, scale)
    config.train.epochs = scale.sweep_epochs
    sweep = {"field": "loss.perceptual", "folds": scale.folds, "config": config}
    return ConfigDict(sweep | {"values": scale.weights})


Training = tuple[ConfigDict, str]


def _training(row: str, scale: Scale) -> Training:
    """Return the training of a row of the table, and the name of the one that it starts from."""
    if row in OTHERS:
        return _other(row, scale), ""
    kind, slices = row.split("-")
    if kind == "CPCA_TF":
        return _transferred(int(slices), scale), "CPCA-1"
    config = _adversarial(int(slices), scale)
    config.train.keep_every = scale.first * scale.steps
    return config, ""


def _other(row: str, scale: Scale) -> ConfigDict:
    if scale.published:
        return OTHERS[row].get_config()
    config = OTHERS[row].get_config("cpu")
    if row == "WGAN-VGG":
        # Its authors' rate is a tenth of the deck's; at that of CPCA its mean drifted by 36 HU.
        config.optim.learning_rate *= 0.3
        config = _steady(config)
    return _sized(config, scale)


def _adversarial(slices: int, scale: Scale) -> ConfigDict:
    """Return CPCA-i from scratch under the deck's objective."""
    config = base.get_config()
    config.model.slices = slices
    if scale.published:
        return config
    return _sized(_steady(base.adversarial_for_two_cores(config)), scale)


def _steady(config: ConfigDict) -> ConfigDict:
    """Return a short adversarial training that keeps the mean HU (docs/reproduction.md).

    With a generator faster than its critic, the mean drifts by tens of HU; at equal rates that fall
    as in the released code, by ten; with more weight on the features as well, by a few.
    """
    config.optim.critic_learning_rate = config.optim.learning_rate
    config.optim.decay = "inverse_epoch"
    config.loss.perceptual = 5.0
    return config


def _sized(config: ConfigDict, scale: Scale) -> ConfigDict:
    config.train.epochs, config.train.steps_per_epoch = scale.epochs, scale.steps
    config.train.validation_slices = 4
    return config


def _transferred(slices: int, scale: Scale) -> ConfigDict:
    """Return the fine-tuning of CPCA-i from CPCA-1 of epoch `first`, to the same last epoch.

    As in the deck, its first rate is half the first rate of training from scratch.
    """
    config = _adversarial(slices, scale)
    config.train.epochs = scale.epochs - scale.first
    if scale.published:
        return base.transferred(config, slices=slices)
    config.transfer.step = scale.first * scale.steps
    config.optim.first_epoch = scale.first
    config.optim.learning_rate *= 0.5 * (scale.first + 1)
    config.optim.critic_learning_rate *= 0.5 * (scale.first + 1)
    return config


def _questions(scale: Scale) -> dict[str, Training]:
    """Return the trainings for the questions of the deck's discussion, besides CPCA_TF-i."""
    slices = scale.deep[0]
    asked, alone = f"CPCA_TF-{slices}", "CPCA-1 without critic"
    changes = {
        f"{asked}, symmetric filters": ({"rule": "symmetric"}, "CPCA-1"),
        f"{asked}, random filters": ({"rule": "fresh"}, "CPCA-1"),
        f"{asked}, critic from scratch": ({"critic": "fresh"}, "CPCA-1"),
        f"{asked}, no 2D critic": ({}, alone),
        f"{asked}, no 2D critic, trained first": ({"critic_warmup_steps": scale.steps}, alone),
    }
    plain = base.pixels_only(base.get_config())
    if not scale.published:
        plain = _sized(base.pixels_for_two_cores(plain), scale)
    plain.train.epochs = scale.first
    plain.train.keep_every = scale.first * scale.steps
    trainings: dict[str, Training] = {alone: (plain, "")}
    for name, (change, source) in changes.items():
        config = _transferred(slices, scale)
        config.transfer.update(change)
        trainings[name] = (config, source)
    return trainings
