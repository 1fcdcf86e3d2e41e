"""Intents: what this host is asked to keep, from which source, and what became of it."""
