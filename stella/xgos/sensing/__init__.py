"""Sensing: one pass over the host. Each sensor reads one kind of thing and says whether it could."""
