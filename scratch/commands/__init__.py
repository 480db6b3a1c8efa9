"""python -m scratch: the only room in which something is parsed or printed, and an error put into words."""
