"""The data of trainings: paired volumes in HU with a manifest, and patches cut from them."""
