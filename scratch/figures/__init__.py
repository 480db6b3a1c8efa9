"""Pictures: numbers in, a Matplotlib figure out."""
