"""stella-engine: the background work of a cloud. One leads, others stand by (`docs/decisions/0033`)."""
