"""Train a denoiser: one experiment, one configuration."""

from cpca_jax import cli

if __name__ == "__main__":
    cli.start("train")
