"""Augmentations that return transforms, so that boxes follow the image by the same object."""
