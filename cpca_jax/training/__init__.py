"""Training: the step, the transfer from 2D to 3D, the loop, the start and the resuming of a run."""
