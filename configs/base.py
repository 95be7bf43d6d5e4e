"""Every field of an experiment, with the deck's numbers. The other files change a few of them."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """CPCA-1 from scratch as in the deck; source of each number beside it."""
    return ConfigDict({
        "data": {
            "store": "",  # made by prepare.py
            "kernels": (),  # reconstruction kernels to use, e.g. ("B30f",); empty: all
            "window_hu": (-300.0, 300.0),  # released CPCE code
            "patch": 64,  # deck
            # Pixels at each side of a patch that only give context: losses and critic see the
            # rest. For networks published without padding.
            "margin": 0,
            "centres": 1,  # neighbouring full-dose slices of a patch; more for 3D critics
            "batch": 128,  # released code; the deck is silent
            "augmentation": "none",  # none in the released code
            # A patch is refused where at least this share of the full-dose pixels is at or
            # below air_hu (released DU-GAN code, the closest of the same group).
            "air_hu": -500.0,
            "air_fraction": 0.85,
            "train_split": "train",
            "validation_split": "validation",  # empty: no validation
            # Cross-validation: of so many parts of train_split's patients, the one numbered `fold`
            # validates instead and the others train. 0: none.
            "folds": 0,
            "fold": 0,
        },
        "model": {"name": "cpca", "slices": 1, "fields": _open()},
        "critic": {"name": "wgan_vgg", "fields": _open()},
        "loss": {
            "adversarial": 1.0,
            "perceptual": 0.1,  # lambda_p of the deck
            "mse": 0.0,
            "l1": 0.0,
            "adversarial_form": "wasserstein",
            "penalty": "two_sided",
            "penalty_weight": 10.0,  # released code
            "critic_steps": 4,  # released code, each on a fresh batch
        },
        "perceptual": {
            "network": "vgg19",  # the deck's; vgg16 comes with the installation
            "weights": "",  # a file, see docs/feature_network.md; empty: the cache
            "tap": "relu5_4",  # released code
            "reduction": "mean",  # released code; "sum" is the deck's formula to the letter
            "norm": "l2",
        },
        "optim": {
            "learning_rate": 1e-4,  # deck, from scratch
            "critic_learning_rate": 1e-4,
            "beta1": 0.9,  # released code
            "beta2": 0.999,
            "epsilon": 1e-8,
            "weight_decay": 0.0,  # of the generator's kernels
            "half_life": 1.0,  # epochs, of the decay "exponential"
            "decay": "inverse_epoch",  # deck: "decays as epoch goes"; released code's form
            "first_epoch": 0,
        },
        "train": {
            "seed": 0,
            "epochs": 40,  # released code
            "steps_per_epoch": 1000,  # 128K patches (deck) in batches of 128
            "steps": 0,  # if not 0: total steps instead of epochs
            "log_every": 20,
            "checkpoint_every": 0,  # steps; 0: once an epoch
            "keep_checkpoints": 3,  # the newest ones
            "keep_every": 10_000,  # and those at multiples of so many steps; 0: none
            "validation_slices": 64,  # spread over the validation series; 0: all
            "frozen": (),  # generator parameters that stay as they are: regular expressions
        },
        "transfer": {
            "run": "",  # a finished 2D run to start from
            "step": 0,  # of that run; 0: its last checkpoint
            "rule": "centre",  # the deck's [0, H, 0]
            "fresh": (),  # parameters not taken from that run: regular expressions
            # "carry" or "fresh". The deck: do not break the balance between G and D.
            "critic": "carry",
            "optimizer": "carry",  # Adam's moments, of the players that are carried
            # Critic-only updates before fine-tuning, for a 2D model that had no critic.
            "critic_warmup_steps": 0,
        },
        "evaluation": {"protocol": "deck", "batch": 4},
        "compute": {
            "devices": 0,  # that share each batch; 0: all there are
            "precision": "float32",  # of the convolutions; "bfloat16" is faster on accelerators
            "accumulate": 1,  # parts of a batch that are computed one after the other
            "rematerialise": False,  # compute maps again in the backward pass, to save memory
            "resident": False,  # keep all volumes on the device and cut patches there
        },
    })


def transferred(config: ConfigDict, *, slices: int) -> ConfigDict:
    """The deck's fine-tuning of a 2D run taken at epoch 10.

    The rate starts at the deck's 0.5e-4 and goes on falling where the 2D training's decay stood:
    5.5e-4 / (epoch + 1) from epoch 10. (The released code has 5e-4, so 4.5e-5 at first.)
    """
    config.model.slices = slices
    config.transfer.step = 10 * config.train.steps_per_epoch
    config.optim.first_epoch = 10
    config.optim.learning_rate = 5.5e-4
    config.optim.critic_learning_rate = 5.5e-4
    return config


def pixels_only(config: ConfigDict) -> ConfigDict:
    """Mean squared error and nothing else: no critic, no feature network in training."""
    config.loss.adversarial = 0.0
    config.loss.perceptual = 0.0
    config.loss.mse = 1.0
    config.optim.decay = "constant"
    return config


def for_two_cores(config: ConfigDict) -> ConfigDict:
    """The deck's objective in minutes instead of days; batch, critic and tap are the caller's."""
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
    """A short adversarial training: a critic half as wide, VGG16 at a shallower layer."""
    config = for_two_cores(config)
    config.data.batch = 8
    config.critic.fields.features = (32, 32, 64, 64, 128, 128)
    config.critic.fields.dense = 256
    config.perceptual.tap = "relu3_3"
    return short(config)


def pixels_for_two_cores(config: ConfigDict) -> ConfigDict:
    """A short pixel-loss training; the feature network is only a metric here."""
    config.data.patch = 48
    config.data.batch = 16
    config.perceptual.network = "vgg16"
    config.perceptual.tap = "relu3_3"
    config.optim.learning_rate = 1e-3
    config.optim.decay = "exponential"
    config.optim.half_life = 4.0
    return short(config)


def short(config: ConfigDict) -> ConfigDict:
    """A training of 400 steps, validated on few slices."""
    config.train.epochs = 4
    config.train.steps_per_epoch = 100
    config.train.validation_slices = 11
    return config


def _open() -> ConfigDict:
    """A place where a network's own fields may be added."""
    fields = config_dict.ConfigDict()
    fields.unlock()
    return fields
