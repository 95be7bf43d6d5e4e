"""Low-dose CT denoising with CPCA: 2D training under WGAN-GP, transfer to 3D, evaluation."""

__version__ = "0.1.0"
