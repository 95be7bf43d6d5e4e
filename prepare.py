"""Make a store of paired scans, or of phantoms."""

from cpca_jax import cli

if __name__ == "__main__":
    cli.start("prepare")
