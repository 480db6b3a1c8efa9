"""Is a backward pass the derivative of its forward pass? differences.py asks, cases.py lists, table.py prints."""
