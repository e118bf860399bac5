"""One published checkpoint family a file: their parameter names to ours."""
