"""Data sets of one's own: what to copy when images and labels are not a paper's."""
