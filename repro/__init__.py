"""Declare a paper's table, run it, and set what was measured beside what was printed."""
