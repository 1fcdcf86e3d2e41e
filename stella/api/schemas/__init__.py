"""JSON Schemas (2020-12) of every request, query and response, one module for each resource; `vocabulary` has what they share."""
