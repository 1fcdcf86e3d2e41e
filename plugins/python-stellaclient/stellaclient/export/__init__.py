"""SLOs with the targets of their SLA classes, for other tools: OpenSLO, Sloth and Prometheus. Values in, values out: no IO here."""
