"""See the whole idea work on phantoms, with no data and no network."""

from cpca_jax import cli

if __name__ == "__main__":
    cli.start("demo")
