"""The commands: `python -m benchmarks.programs.NAME`."""
