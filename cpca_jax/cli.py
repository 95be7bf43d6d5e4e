"""The command `cpca`: one subcommand for each program, with the program's own flags."""

import importlib
import sys
from pathlib import Path

from cpca_jax.runtime import signals, streams

# The first line of each program's docstring, repeated here so that listing them imports none.
PROGRAMS = {
    "train": "Train a denoiser: one experiment, one configuration.",
    "evaluate": "Score trained runs on full slices against low dose: tables, scores, figures.",
    "prepare": "Make a store of paired scans, or of phantoms.",
    "denoise": "Denoise DICOM series and NIfTI files.",
    "convert": "Turn the weights of a PyTorch denoiser into a run.",
    "demo": "See the whole idea work on phantoms, with no data and no network.",
    "reproduce": "Repeat the deck's experiments: every training, table and figure.",
}
_BAD_INPUT = 2


def main() -> None:
    """Run the program that the first argument names."""
    streams.make_lasting()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in PROGRAMS:
        sys.argv[:2] = [f"{Path(sys.argv[0]).name} {name}"]
        start(name)
    from cpca_jax.registry import near
    from cpca_jax.runtime import logs

    if name in {"--help", "-h", "-help", "help"}:
        logs.show(_usage())
        if streams.output_failure():
            logs.complain(f"error: {streams.output_failure()}")
            sys.exit(_BAD_INPUT)
        sys.exit(0)
    logs.complain(
        f"error: '{name}' is not one of the programs {', '.join(PROGRAMS)}{near(name, PROGRAMS)}"
    )
    sys.exit(_BAD_INPUT)


def start(name: str) -> None:
    """Run one program on the arguments of this process, and exit as `programs.launch` defines."""
    # Signals are heard before the imports, which take seconds.
    with signals.exit_codes():
        launch = importlib.import_module("cpca_jax.programs.launch")
        program = importlib.import_module(f"cpca_jax.programs.{name}")
        launch.run(program.PROGRAM, program.main)


def _usage() -> str:
    rows = (f"  {name:<10} {text}" for name, text in PROGRAMS.items())
    return "\n".join((
        "usage: cpca PROGRAM --FLAG=VALUE ...",
        "",
        "Programs (--help after a program's name lists its flags):",
        *rows,
    ))
