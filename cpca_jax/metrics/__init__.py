"""How an image is scored: one registry of metrics, named protocols, statistics, observers."""

from cpca_jax.metrics.table import METRICS, Compared, Metric, register

__all__ = ["METRICS", "Compared", "Metric", "register"]
