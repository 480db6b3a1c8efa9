"""One training step, the loop around it, and what it reports. Knows models, never files."""
