"""Training: the step, the transfer from 2D to 3D, the loop, and how a run starts and resumes."""
