"""Times, memory and growth of both sides."""
