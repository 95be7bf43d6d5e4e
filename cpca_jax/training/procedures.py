"""The training procedure of each network: one loop, or the network's own procedure."""

from collections.abc import Callable
from pathlib import Path

from cpca_jax.registry import Registry
from cpca_jax.runs.config import Experiment
from cpca_jax.runs.state import TrainState
from cpca_jax.runtime.files import require_outside
from cpca_jax.training import loop

Procedure = Callable[[Experiment, Path], TrainState]

# By the name of the network. All other networks are trained by `loop.train`.
PROCEDURES: Registry[Procedure] = Registry(
    "training procedure", {"cascade": "cpca_jax.training.cascade:train"}
)


def train(experiment: Experiment, workdir: Path) -> TrainState:
    """Train an experiment in a folder; a second call continues where the first stopped.

    Raises:
        InputError: As in `loop.train`; or the folder lies in the store.
        StoppedError: The training was asked to stop before the last step, and saved its state.
    """
    if experiment.data.store:
        require_outside(workdir, [Path(experiment.data.store)], flag="--workdir")
    procedure = PROCEDURES.get(experiment.model.name, loop.train)
    return procedure(experiment, workdir)
