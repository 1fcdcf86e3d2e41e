"""What the agent offers on its own host: the control socket, its client, and the metrics."""
