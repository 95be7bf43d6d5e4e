"""Make htj2k_32x32_uint16.{j2c,npy}: a lossless HTJ2K stream and the pixels it holds.

Encoded by OpenJPH through imagecodecs (pip install imagecodecs==2026.3.6 in an environment of its
own); the project's decoder is OpenJPEG.
"""

from pathlib import Path

import imagecodecs
import numpy as np

FOLDER = Path(__file__).parent


def main() -> None:
    """Write both files."""
    pixels = np.random.default_rng(29).integers(0, 65536, (32, 32), dtype=np.uint16)
    stream = imagecodecs.htj2k_encode(pixels, reversible=True)
    (FOLDER / "htj2k_32x32_uint16.j2c").write_bytes(stream)
    np.save(FOLDER / "htj2k_32x32_uint16.npy", pixels, allow_pickle=False)


if __name__ == "__main__":
    main()
