"""Decisions, pure: values in, values out. No file, no clock, no chance."""
