"""The agent's process: what it is told, its loop, and how its parts are put together."""
