"""Training: the step, the loop, the 2D to 3D transfer, and the starting or resuming of a run."""
