"""Project panel "Service levels"."""
