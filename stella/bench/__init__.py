"""The laboratory: real guests, load, and measurement from outside the agent."""
