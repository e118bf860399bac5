"""One data set family a file; the folder is the registry."""
