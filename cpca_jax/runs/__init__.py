"""What lies in the folder of a run: configuration, state, checkpoints."""
