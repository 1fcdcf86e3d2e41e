"""Stella's API. What it answers is a value; what goes wrong is one too (`problems`), so that a page always has something to show."""
