"""Weights from outside: the feature network, PyTorch state dicts, checked downloads."""
