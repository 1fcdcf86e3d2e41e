"""Access policy: oslo.policy over the defaults in `stella.api.policies`."""

import time
from collections.abc import Callable

from oslo_config import cfg
from oslo_policy import policy

from stella.api import policies
from stella.api.identity import Identity

_KEPT_SECONDS = 1.0
_MOST_KEPT = 4096


class Policy:
    """Who may do what. An operator overrides the defaults in ``[oslo_policy] policy_file``, which is followed within a second.

    An answer depends on the user, the rule and the project alone; oslo.policy takes half a millisecond to find it, so it is kept.
    """

    def __init__(self, config: cfg.ConfigOpts, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._enforcer = policy.Enforcer(config)
        self._enforcer.register_defaults(policies.list_rules())
        self._enforcer.load_rules()
        self._monotonic = monotonic
        self._known: dict[tuple[Identity, str, str | None], tuple[float, bool]] = {}

    def allows(self, identity: Identity, rule: str, project_id: str | None = None) -> bool:
        """Whether this user may do what ``rule`` names to something of this project."""
        key, now = (identity, rule, project_id), self._monotonic()
        found = self._known.get(key)
        if found is not None and now - found[0] < _KEPT_SECONDS:
            return found[1]
        credentials = identity.credentials()
        allowed = bool(self._enforcer.authorize(rule, {"project_id": project_id}, credentials, do_raise=False))
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[key] = (now, allowed)
        return allowed
