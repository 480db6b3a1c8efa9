"""Is a backward pass the derivative of its forward pass? differences.py asks, cases.py says of what, table.py prints."""
