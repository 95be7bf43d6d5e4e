"""Denoise DICOM series and NIfTI files."""

from cpca_jax import cli

if __name__ == "__main__":
    cli.start("denoise")
