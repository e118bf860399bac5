"""Runs one stage: build from a recipe, train or evaluate, record."""
