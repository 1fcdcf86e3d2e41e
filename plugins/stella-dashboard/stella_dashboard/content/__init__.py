"""Panels, one directory each."""
