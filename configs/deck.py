"""The deck's experiments as one: every training, table and figure of its slides.

python reproduce.py --config configs/deck.py:small --workdir DIR

":demo" is minutes on two cores, on small phantoms; ":small" hours on two cores, on phantoms of
512x512; ":full" is the deck's own size, for a GPU or TPU.
"""

import dataclasses

from ml_collections import ConfigDict

from cpca_jax.configs import base, cascade, cnn, gan3d, red_cnn, wgan_vgg


@dataclasses.dataclass(frozen=True)
class Scale:
    """How long the parts of a reproduction are.

    Attributes:
        phantoms: what prepare.py --phantom takes.
        epochs: of every training.
        first: the epoch of the 2D training at which fine-tuning begins.
        steps: of an epoch.
        deep: slices of the 3D networks.
        listed: methods without a row in the deck's table, as rows of ours.
        questions: whether the discussion's questions get trainings.
        observer: scans of the detectability study.
        table_slices: middle slices of each test patient in the table; 0 for all.
        weights: values of lambda_p that are tried.
        folds: of patients, for lambda_p.
        sweep_epochs: of these trainings.
        published: trainings as published instead of sizes for two cores; each then has its own
            length and `epochs`, `first` and `steps` are the deck's.
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
# Single slices in, with recipes of their own, by the deck's name.
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
    """All trainings of one size, and what is made of them."""
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
        # Scans instead of the phantoms: a folder that prepare.py --input takes.
        "scans": {"input": "", "test": (), "validation": ()},
        # Scans beside them, of single slices: 2D trainings and a table of their own.
        "real": {
            "input": "",
            "test": (),
            "validation": (),
            "rows": ("RED-CNN", "WGAN-VGG", "CPCA-1", *scale.listed[:1]),
        },
    })


def _lambda(scale: Scale) -> ConfigDict:
    """The deck's lambda_p by cross-validation: CPCA-1 with each weight, on each fold held out."""
    config = _adversarial(1, scale)
    config.train.epochs = scale.sweep_epochs
    sweep = {"field": "loss.perceptual", "folds": scale.folds, "config": config}
    return ConfigDict(sweep | {"values": scale.weights})


Training = tuple[ConfigDict, str]


def _training(row: str, scale: Scale) -> Training:
    """The training behind a row of the table, and the one that it starts from."""
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
        # Its authors' rate is a tenth of the deck's; at CPCA's its mean wandered by 36 HU.
        config.optim.learning_rate *= 0.3
        config = _steady(config)
    return _sized(config, scale)


def _adversarial(slices: int, scale: Scale) -> ConfigDict:
    """CPCA-i from scratch under the deck's objective."""
    config = base.get_config()
    config.model.slices = slices
    if scale.published:
        return config
    return _sized(_steady(base.adversarial_for_two_cores(config)), scale)


def _steady(config: ConfigDict) -> ConfigDict:
    """What keeps the mean brightness of short adversarial trainings (docs/reproduction.md).

    A generator that is faster than its critic wanders by tens of HU; at equal rates, falling as
    those of the released code, by ten; with more weight on the features by a few.
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
    """CPCA-i fine-tuned from CPCA-1 as it was at epoch `first`, to the same last epoch.

    As in the deck the rate begins at half of what training from scratch began with.
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
    """The trainings that answer the deck's discussion, beside CPCA_TF-i itself."""
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
