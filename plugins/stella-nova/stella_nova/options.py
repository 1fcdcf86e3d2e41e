"""The group ``[stella]`` of nova.conf."""

from typing import Any

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = "stella"
SERVICE_TYPE = "stella"
TIMEOUT_SECONDS = 2

_OWN = [
    cfg.FloatOpt(
        "head_room_weight_multiplier",
        default=1.0,
        help="Weight of the part of a host's guaranteeable CPU that is left, 0 to 1. Negative packs instances onto few hosts. "
        "The metadata stella_head_room_weight_multiplier of a host's aggregate overrides it.",
    ),
    cfg.FloatOpt(
        "attainment_weight_multiplier",
        default=1.0,
        help="Weight of how often the SLOs on a host were met in the last hour, 0 to 1. "
        "The metadata stella_attainment_weight_multiplier of a host's aggregate overrides it.",
    ),
    cfg.FloatOpt(
        "retry_seconds",
        default=5.0,
        min=0.0,
        help="For so long after a failure Stella is not asked again; then the filter lets all hosts pass and the weigher is neutral.",
    ),
]


def _all() -> list[Any]:
    session = loading.get_session_conf_options()
    adapter = loading.get_adapter_conf_options(include_deprecated=False)
    cfg.set_defaults(session, timeout=TIMEOUT_SECONDS)
    cfg.set_defaults(adapter, service_type=SERVICE_TYPE, valid_interfaces=["internal", "public"])
    return [*_OWN, *session, *adapter]


def register(config: cfg.ConfigOpts) -> None:
    """Adds the group. Registering it again changes nothing."""
    if GROUP in config and "retry_seconds" in config[GROUP]:
        return
    config.register_opts(_all(), group=GROUP)
    loading.register_auth_conf_options(config, GROUP)


def list_opts() -> list[tuple[str, list[Any]]]:
    """For oslo-config-generator."""
    return [(GROUP, [*_all(), *loading.get_auth_common_conf_options()])]
