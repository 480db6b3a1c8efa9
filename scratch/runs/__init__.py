"""The folder of a run and its files, a finished run, and latents as files."""
