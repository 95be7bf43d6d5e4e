"""Turn the weights of a PyTorch denoiser into a run."""

from cpca_jax import cli

if __name__ == "__main__":
    cli.start("convert")
