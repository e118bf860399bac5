"""Detectors as they are used after training: one graph of tensors, written to a file, run by other libraries, timed."""
