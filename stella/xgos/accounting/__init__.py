"""Accounting: windows, history, violations, and the files they are kept in."""
