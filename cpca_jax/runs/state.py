"""The state of a training: what is in it is what a checkpoint holds.

No keys, no functions, no optimisers inside. Randomness is a function of (seed, step), so the step
is all that resuming needs besides the two players.
"""

import flax.struct

from cpca_jax.types import Leaf, Params

# Named folds of the root key.
GENERATOR_KEY, CRITIC_KEY, STEP_KEY = 0, 1, 2


class Player(flax.struct.PyTreeNode):
    """One network in training.

    Attributes:
        params: its weights.
        opt_state: the state of its optimiser.
        statistics: running moments of batch normalisation; empty for networks without any.
    """

    params: Params
    opt_state: Params
    statistics: Params = flax.struct.field(default_factory=dict)


class TrainState(flax.struct.PyTreeNode):
    """Both players and the number of generator updates done.

    Attributes:
        step: int32 scalar.
        generator: the denoiser.
        critic: None for objectives without an adversarial term.
    """

    step: Leaf
    generator: Player
    critic: Player | None
