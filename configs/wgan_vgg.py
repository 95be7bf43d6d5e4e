"""WGAN-VGG (Yang et al. 2018): eight layers, Wasserstein and perceptual loss.

python train.py --config configs/wgan_vgg.py --workdir runs/wgan_vgg --config.data.store=STORE
On two cores: --config configs/wgan_vgg.py:cpu

The deck reports 28.88 dB, SSIM 0.8957, perceptual 2.55 on its Mayo test slices. All numbers are
those of the paper's algorithm 1. Its released code differs: rate 1e-4, penalty weight 1, penalty
per column (--config.loss.penalty=as_released).
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "published") -> ConfigDict:
    """Return the published recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("published", "cpu"))
    config = base.get_config()
    config.model.name = "wgan_vgg"
    config.data.patch = 80
    config.data.margin = 8  # eight unpadded layers: losses and critic see 64x64
    config.optim.learning_rate = 1e-5
    config.optim.critic_learning_rate = 1e-5
    config.optim.beta1 = 0.5
    config.optim.beta2 = 0.9
    config.optim.decay = "constant"
    config.train.epochs = 100
    if variant == "cpu":
        config = base.adversarial_for_two_cores(config)
        config.data.patch = 64
        config.optim.beta2 = 0.999
    return config
