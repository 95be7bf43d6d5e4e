"""Write the VGG golden files next to this script; needs torch, h5py, safetensors, numpy.

    python tests/golden/make_vgg_golden.py

A VGG19 a sixteenth as wide, defined here in PyTorch and numbered as in torchvision, gets
seeded random weights. They are saved in every format that the loader reads, along with grey
images and the features that PyTorch computes from them in both input conventions.
"""

from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
BLOCKS = ((2, 4), (2, 8), (4, 16), (4, 32), (4, 32))
# Index in `features` of what Caffe calls so.
TAPS = {"relu1_2": 3, "conv3_4": 16, "relu5_4": 35}
MEAN_RGB_255 = torch.tensor([123.68, 116.779, 103.939])
MEAN_RGB = torch.tensor([0.485, 0.456, 0.406])
SD_RGB = torch.tensor([0.229, 0.224, 0.225])


class NarrowVgg(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        modules: list[torch.nn.Module] = []
        channels = 3
        for count, width in BLOCKS:
            for _ in range(count):
                modules += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
                channels = width
            modules.append(torch.nn.MaxPool2d(2, 2))
        self.features = torch.nn.Sequential(*modules)
        # A stand-in for the classifier, which a reader of the trunk has to ignore.
        self.classifier = torch.nn.Sequential(torch.nn.Linear(channels, 5))


def seeded_network() -> NarrowVgg:
    torch.manual_seed(19)
    network = NarrowVgg().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_in = module.in_channels * 9
            torch.nn.init.normal_(module.weight, std=(2.0 / fan_in) ** 0.5)
            torch.nn.init.normal_(module.bias, std=0.1)
    return network


def save_keras(network: NarrowVgg, path: Path) -> None:
    convolutions = iter(m for m in network.features if isinstance(m, torch.nn.Conv2d))
    with h5py.File(path, "w") as file:
        for block, (count, _) in enumerate(BLOCKS, start=1):
            for index in range(1, count + 1):
                module = next(convolutions)
                name = f"block{block}_conv{index}"
                kernel = module.weight.detach().permute(2, 3, 1, 0).contiguous().numpy()
                file[f"{name}/{name}_W_1:0"] = kernel
                file[f"{name}/{name}_b_1:0"] = module.bias.detach().numpy()
            file.create_group(f"block{block}_pool")


def conventions(images: torch.Tensor) -> dict[str, torch.Tensor]:
    rgb = images.expand(-1, 3, -1, -1)
    column = (1, 3, 1, 1)
    return {
        "caffe-bgr": (rgb * 255 - MEAN_RGB_255.view(column)).flip(1),
        "torchvision-rgb": (rgb - MEAN_RGB.view(column)) / SD_RGB.view(column),
    }


def main() -> None:
    network = seeded_network()
    state = network.state_dict()
    torch.save(state, HERE / "vgg_narrow.pth")
    torch.save(state, HERE / "vgg_narrow_legacy.pth", _use_new_zipfile_serialization=False)
    save_file(state, HERE / "vgg_narrow.safetensors")
    save_keras(network, HERE / "vgg_narrow.h5")

    # Odd sizes, so that poolings have a row or a column to drop.
    images = torch.rand((2, 1, 50, 41), generator=torch.Generator().manual_seed(7))
    arrays = {"images": images.permute(0, 2, 3, 1).numpy()}
    with torch.no_grad():
        for convention, prepared in conventions(images).items():
            for tap, index in TAPS.items():
                maps = network.features[: index + 1](prepared)
                arrays[f"{convention} {tap}"] = maps.permute(0, 2, 3, 1).numpy()
    np.savez_compressed(HERE / "vgg_narrow_features.npz", **arrays)


if __name__ == "__main__":
    main()
