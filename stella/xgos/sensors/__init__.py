"""Sensors: each reads one kind of thing and says whether it could."""
