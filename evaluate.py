"""Score trained runs on full slices against low dose: tables, scores, figures."""

from cpca_jax import cli

if __name__ == "__main__":
    cli.start("evaluate")
