"""What the leader does, one module for each duty: a pure decision, and the thin functions that read and write for it."""

from stella.engine.duties import hosts, points

DUTIES = (hosts.DUTY, points.DUTY)
