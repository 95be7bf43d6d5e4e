"""Convolutions over slabs and their adjoints, and which form is fast on which device."""
