"""A run's folder and its files, finished runs, and latents in files."""
