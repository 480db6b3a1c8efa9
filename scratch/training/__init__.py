"""One training step, the loop around it, and its metrics. The files of a run are written in scratch/runs."""
