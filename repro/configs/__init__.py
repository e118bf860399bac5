"""Recipes: Detectron2 lazy configs, loaded by path and never imported."""
