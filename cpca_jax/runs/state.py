"""The state of a training, which is exactly what a checkpoint holds.

It contains no keys, functions or optimisers. Randomness is a function of (seed, step), so that
resuming needs only the step besides the two players.
"""

import flax.struct

from cpca_jax.types import Leaf, Params

# The named folds of the root key.
GENERATOR_KEY, CRITIC_KEY, STEP_KEY = 0, 1, 2


class Player(flax.struct.PyTreeNode):
    """One network in training.

    Attributes:
        params: its weights.
        opt_state: the state of its optimiser.
        statistics: the running moments of batch normalisation; empty for networks without any.
    """

    params: Params
    opt_state: Params
    statistics: Params = flax.struct.field(default_factory=dict)


class TrainState(flax.struct.PyTreeNode):
    """Both players and the number of generator updates done.

    Attributes:
        step: the number of generator updates done, an int32 scalar.
        generator: the denoiser in training.
        critic: the critic in training; None for objectives without an adversarial term.
    """

    step: Leaf
    generator: Player
    critic: Player | None
