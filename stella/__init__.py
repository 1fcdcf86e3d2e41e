"""Stella: a cloud that guarantees performance."""

__version__ = "0.1.0"
