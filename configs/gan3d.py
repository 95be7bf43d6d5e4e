"""GAN-3D (Wolterink et al. 2017): 3D generator, voxel loss and a 3D discriminator.

python train.py --config configs/gan3d.py --workdir runs/gan3d --config.data.store=STORE
On two cores: --config configs/gan3d.py:cpu

The loss is the squared voxel loss plus the discriminator's cross-entropy. The paper's loss weights,
rate, batch and patch could not be found; rate, momentum and batch are those of the only public code
(DLDenoise), and the weight 0.001 of the adversarial term is our choice.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base


def get_config(variant: str = "published") -> ConfigDict:
    """Return the published recipe, or with ":cpu" one of minutes."""
    base.require_variant(__file__, variant, ("published", "cpu"))
    config = base.pixels_only(base.get_config())
    config.model.name = "gan3d"
    config.model.slices = 15
    config.data.patch = 46
    config.data.margin = 7  # seven unpadded layers: losses and discriminator see 32x32
    config.data.centres = 5  # the discriminator scores them together
    config.data.batch = 48
    config.critic.name = "gan3d"
    config.loss.adversarial = 0.001
    config.loss.adversarial_form = "cross_entropy"
    config.loss.penalty_weight = 0.0
    config.loss.critic_steps = 1
    config.optim.learning_rate = 2e-4
    config.optim.critic_learning_rate = 2e-4
    config.optim.beta1 = 0.5
    config.optim.beta2 = 0.99
    config.train.epochs = 25
    if variant == "cpu":
        config = base.pixels_for_two_cores(config)
        config.model.fields.features = (8, 8, 16, 16, 32, 32)
        config.data.patch = 46
        config.data.batch = 4
        # The moments of four patches differ from those of slices: with batch normalisation,
        # validation PSNR varied between 17.9 and 25.5 dB from epoch to epoch.
        config.model.fields.use_norm = False
        config.data.air_fraction = 1.0
        config.optim.learning_rate = 3e-4
        config.train.epochs = 4
    return config
