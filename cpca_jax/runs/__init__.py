"""The folder of a run: its configuration, its state, its checkpoints."""
