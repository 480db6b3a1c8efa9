"""Pure machinery, no mathematics: what makes the plain forms faster without changing a result."""
