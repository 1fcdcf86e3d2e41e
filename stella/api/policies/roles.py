"""The roles that the policies of all resources are made of."""

from oslo_policy import policy

ADMIN = "rule:stella_admin"
OPERATOR = "rule:stella_operator"
PROJECT_READER = "rule:stella_project_reader"
PROJECT_MEMBER = "rule:stella_project_member"

RULES = [
    policy.RuleDefault("stella_admin", "role:admin", description="May do everything."),
    policy.RuleDefault("stella_operator", "role:admin or role:service", description="May see everything."),
    policy.RuleDefault(
        "stella_project_reader",
        f"{OPERATOR} or (role:reader and project_id:%(project_id)s)",
        description="May see what belongs to the own project.",
    ),
    policy.RuleDefault(
        "stella_project_member",
        f"{ADMIN} or (role:member and project_id:%(project_id)s)",
        description="May change what belongs to the own project.",
    ),
]


def rule(name: str, default: str, description: str, method: str, path: str) -> policy.DocumentedRuleDefault:
    """One documented policy."""
    return policy.DocumentedRuleDefault(
        name=name, check_str=default, description=description, operations=[{"method": method, "path": path}]
    )
