"""Repeat the deck's experiments: every training, table and figure."""

from cpca_jax import cli

if __name__ == "__main__":
    cli.start("reproduce")
