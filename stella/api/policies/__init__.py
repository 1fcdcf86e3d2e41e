"""Default access policies, one module for each resource. Roles: reader, member (own project), admin, service."""

from oslo_policy import policy

from stella.api.policies import (
    attainment,
    candidate,
    decision,
    estimate,
    host,
    instance,
    quota,
    roles,
    slo,
    usage,
    violation,
)


def list_rules() -> list[policy.RuleDefault]:
    """All of them, for the enforcer and for `oslopolicy-sample-generator`."""
    modules = (roles, instance, slo, attainment, usage, host, violation, decision, quota, estimate, candidate)
    return [rule for module in modules for rule in module.RULES]
