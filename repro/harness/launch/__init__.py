"""Run a plan: see what is missing, submit it once, and leave or wait."""
