"""Seeded body phantoms."""
