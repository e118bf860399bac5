"""Detectors as their authors published them: where their weights are, and what they fit into."""
