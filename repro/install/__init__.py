"""Installation steps that pip alone cannot take."""
