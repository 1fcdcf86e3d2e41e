"""What the leader does, one module for each duty: a pure decision, and the thin functions that read and write for it."""

from stella.engine.duties import hosts, instances, retention, rollups, slas, violations

DUTIES = (
    hosts.DUTY,
    instances.DUTY,
    violations.DUTY,
    rollups.DUTY,
    slas.DUTY,
    retention.POINTS_DUTY,
    violations.LATE_DUTY,
    retention.DUTY,
)
