"""The vocabulary: values and units. Standard library only."""
