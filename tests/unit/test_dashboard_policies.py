"""Horizon offers what the API allows: its default policies are those of the API."""

import os
from pathlib import Path

import yaml

from stella.api import policies

FILE = Path(__file__).parents[2] / "plugins/stella-dashboard/stella_dashboard/conf/default_policies/stella.yaml"


def test_the_dashboard_has_the_policies_of_the_api() -> None:
    rules = [
        {
            "name": rule.name,
            "check_str": rule.check_str,
            "description": rule.description,
            "operations": list(getattr(rule, "operations", [])),
            "scope_types": None,
        }
        for rule in policies.list_rules()
    ]
    if os.environ.get("STELLA_UPDATE_GOLDEN"):
        FILE.write_text(
            "# Generated from stella.api.policies: STELLA_UPDATE_GOLDEN=1 pytest tests/unit\n" + yaml.safe_dump(rules)
        )
    assert yaml.safe_load(FILE.read_text()) == rules
