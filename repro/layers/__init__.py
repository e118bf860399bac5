"""Modules that know nothing of detection."""
