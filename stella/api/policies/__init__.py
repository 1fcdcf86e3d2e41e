"""Default access policies, one module for each resource. Roles: reader, member (own project), admin, service."""

from oslo_policy import policy

from stella.api.policies import (
    attainment,
    budget,
    candidate,
    correction,
    decision,
    estimate,
    exclusion,
    host,
    instance,
    quota,
    roles,
    sla,
    slo,
    usage,
    violation,
)


def list_rules() -> list[policy.RuleDefault]:
    """All of them, for the enforcer and for `oslopolicy-sample-generator`."""
    modules = (
        *(roles, instance, slo, attainment, usage, host, violation, decision, quota, estimate, candidate),
        *(sla, budget, exclusion, correction),
    )
    return [rule for module in modules for rule in module.RULES]
