"""What the leader does, one module for each duty: a pure decision, and the thin functions that read and write for it."""

from stella.engine.duties import hosts, points, rollups, violations

DUTIES = (hosts.DUTY, violations.DUTY, rollups.DUTY, violations.LATE_DUTY, points.DUTY)
