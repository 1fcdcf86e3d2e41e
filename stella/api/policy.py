"""Access policy: oslo.policy over the defaults in `stella.api.policies`."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from stella.api import policies
from stella.api.identity import Identity


class Policy:
    """Who may do what. An operator overrides the defaults in ``[oslo_policy] policy_file``."""

    def __init__(self, config: cfg.ConfigOpts) -> None:
        self._enforcer = policy.Enforcer(config)
        self._enforcer.register_defaults(policies.list_rules())
        self._enforcer.load_rules()

    def allows(self, identity: Identity, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        """Whether this user may do what ``rule`` names to ``target`` (its ``project_id`` counts)."""
        return bool(self._enforcer.authorize(rule, dict(target or {}), identity.credentials(), do_raise=False))
