"""The deck's experiments as one: every training, table and figure of its slides.

python reproduce.py --config configs/deck.py:demo --workdir DIR

":demo" is minutes on two cores, on small phantoms; ":small" is hours on two cores, on phantoms of
512x512. The deck's own size needs its data and an accelerator; it is not here yet.
"""

from ml_collections import ConfigDict

from configs import base, cascade, cnn, gan3d, red_cnn, wgan_vgg
from cpca_jax.errors import ConfigError

# Trainings of single slices with their own recipes, by the deck's name.
OTHERS = {
    "RED-CNN": red_cnn,
    "WGAN-VGG": wgan_vgg,
    "CNN": cnn,
    "GAN-3D": gan3d,
    "CNN-Cascade": cascade,
}
# The table's rows: the deck's, and after them those that it only lists.
DECKS, LISTED = ["RED-CNN", "WGAN-VGG", "CPCA-1"], ["CNN", "GAN-3D", "CNN-Cascade"]
# How long the parts of each size are: phantoms (count, slices, pixels), epochs of a training, the
# epoch at which fine-tuning begins, steps an epoch, and the 3D networks' slices.
SCALES = {
    "demo": ((5, 12, 256), 4, 2, 40, (3,)),
    "small": ((16, 24, 512), 24, 6, 100, (3, 5, 7)),
}


def get_config(scale: str = "small") -> ConfigDict:
    """All trainings of one size, and what is made of them."""
    if scale not in SCALES:
        raise ConfigError(f"configs/deck.py:{scale}, must be one of {', '.join(SCALES)}")
    (count, slices, size), epochs, first, steps, deep = SCALES[scale]
    trainings = {"CPCA-1": (_adversarial(1, epochs, steps), "")}
    trainings["CPCA-1"][0].train.keep_every = first * steps
    for i in deep:
        trainings[f"CPCA-{i}"] = (_adversarial(i, epochs, steps), "")
        trainings[f"CPCA_TF-{i}"] = (_transferred(i, epochs, first, steps), "CPCA-1")
    for name, module in OTHERS.items():
        config = module.get_config("cpu")
        config.train.epochs, config.train.steps_per_epoch = epochs, steps
        config.train.validation_slices = 4
        trainings[name] = (config, "")
    asked = f"CPCA_TF-{deep[0]}"
    questions = {
        f"{asked}, symmetric filters": {"rule": "symmetric"},
        f"{asked}, random filters": {"rule": "fresh"},
        f"{asked}, critic from scratch": {"critic": "fresh"},
    }
    for name, changes in questions.items():
        config = _transferred(deep[0], epochs, first, steps)
        config.transfer.update(changes)
        trainings[name] = (config, "CPCA-1")
    rows = [*DECKS, *(f"CPCA-{i}" for i in deep), *(f"CPCA_TF-{i}" for i in deep), *LISTED]
    found = {"radius_mm": [3.0], "contrast_hu": [-30.0], "phantoms": 4, "slices": 4, "size": size}
    return ConfigDict({
        "scale": scale,
        "phantoms": {"count": count, "slices": slices, "size": size, "dose": 0.25, "seed": 2017},
        "trainings": {n: {"config": c, "source": source} for n, (c, source) in trainings.items()},
        "rows": rows,
        "questions": [asked, *questions],
        "deep": list(deep),
        "detectability": found | {"rois": 60, "readers": 20},
    })


def _adversarial(slices: int, epochs: int, steps: int) -> ConfigDict:
    """CPCA-i from scratch under the deck's objective."""
    config = base.adversarial_for_two_cores(base.get_config())
    config.model.slices = slices
    config.train.epochs, config.train.steps_per_epoch = epochs, steps
    config.train.validation_slices = 4
    return config


def _transferred(slices: int, epochs: int, first: int, steps: int) -> ConfigDict:
    """CPCA-i fine-tuned from CPCA-1 as it was at epoch `first`, to the same last epoch."""
    config = _adversarial(slices, epochs - first, steps)
    config.transfer.step = first * steps
    config.optim.first_epoch = first
    config.optim.learning_rate *= 0.5  # the deck halves the rate for fine-tuning
    config.optim.critic_learning_rate *= 0.5
    return config
