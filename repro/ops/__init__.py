"""Operators with more than one implementation; the PyTorch reference of each is its definition."""
