"""The gradient-penalty laboratory: CPCA-1 at a size for two cores, with another penalty.

python train.py --config configs/penalties.py:r1 --workdir runs/penalty-r1 \
    --config.data.store=STORE

The word after the colon is a row of cpca_jax.penalties.PENALTIES; the weight is its published one.
docs/penalties.md explains the penalties, and how to write a new row.
"""

from ml_collections import ConfigDict

from cpca_jax.configs import base, cpca1
from cpca_jax.objectives.penalties import PENALTIES


def get_config(variant: str = "two_sided") -> ConfigDict:
    """Return CPCA-1 with the penalty called `variant`."""
    base.require_variant(__file__, variant, PENALTIES)
    config = cpca1.get_config("cpu")
    config.loss.penalty = variant
    config.loss.penalty_weight = PENALTIES[variant].weight
    config.train.steps = 120
    config.train.log_every = 5
    config.train.validation_slices = 2
    return config
