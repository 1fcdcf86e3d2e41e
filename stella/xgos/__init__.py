"""The node agent: sensors, decides through stella.control, and touches the machine."""
