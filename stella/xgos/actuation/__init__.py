"""Actuation: from a decision to writes, journalled before they are made, and undone at release."""
