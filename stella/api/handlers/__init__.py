"""What the API does, one module for each resource. A handler's docstring is its contract."""
