"""Scoring of images: one registry of metrics, named protocols, statistics, observers."""

from cpca_jax.metrics.table import METRICS, Compared, Metric, register
from cpca_jax.types import Scores

__all__ = ["METRICS", "Compared", "Metric", "Scores", "register"]
