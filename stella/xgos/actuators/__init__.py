"""Actuators: each writes one kind of knob, and nothing else."""
