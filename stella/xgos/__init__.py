"""The node agent: senses, decides through stella.control, and touches the machine."""
