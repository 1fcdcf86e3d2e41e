"""Nova's configuration, read as Nova reads it: files and directories of drop-ins, the later ones first in force."""

from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from stella.checks.facts import NovaConf

_DEFAULT, _SCHEDULER, _MESSAGING, _NOTIFICATIONS, _STELLA = (
    "DEFAULT",
    "filter_scheduler",
    "oslo_messaging_notifications",
    "notifications",
    "stella",
)
_LOGIN = ("auth_type", "auth_section", "auth_url", "username", "application_credential_id", "endpoint_override")
_OPTIONS: dict[str, list[cfg.Opt]] = {
    _DEFAULT: [cfg.StrOpt("control_exchange", default="nova")],
    _SCHEDULER: [
        cfg.MultiStrOpt("available_filters", default=["nova.scheduler.filters.all_filters"]),
        cfg.ListOpt("enabled_filters", default=[]),
        cfg.ListOpt("weight_classes", default=["nova.scheduler.weights.all_weighers"]),
    ],
    _MESSAGING: [cfg.MultiStrOpt("driver", default=[])],
    _NOTIFICATIONS: [
        cfg.StrOpt("notification_format", default="unversioned"),
        cfg.ListOpt("versioned_notifications_topics", default=["versioned_notifications"]),
    ],
    _STELLA: [cfg.StrOpt(name) for name in _LOGIN],
}
"""Names and defaults as Nova has them."""


def read(given: Sequence[str]) -> NovaConf:
    """``given`` are files, or directories of them; to a file belong those in the directory ``FILE.d`` beside it."""
    files: list[str] = []
    directories: list[str] = []
    for path in map(Path, given):
        if path.is_dir():
            directories.append(str(path))
        elif path.exists():
            files.append(str(path))
            if (beside := Path(f"{path}.d")).is_dir():
                directories.append(str(beside))
        else:
            return NovaConf(files=given, error=f"{path} does not exist")
    if not files and not directories:
        return NovaConf()
    config = cfg.ConfigOpts()
    for group, options in _OPTIONS.items():
        config.register_opts(options, group=None if group == _DEFAULT else group)
    try:
        config(args=[], project="nova", default_config_files=files, default_config_dirs=directories)
        return NovaConf(
            files=[*files, *directories],
            available_filters=tuple(config[_SCHEDULER].available_filters),
            enabled_filters=tuple(config[_SCHEDULER].enabled_filters),
            weight_classes=tuple(config[_SCHEDULER].weight_classes),
            login=frozenset(name for name in _LOGIN if config[_STELLA][name]),
            notification_drivers=tuple(config[_MESSAGING].driver),
            notification_topics=tuple(config[_NOTIFICATIONS].versioned_notifications_topics),
            notification_format=config[_NOTIFICATIONS].notification_format,
            control_exchange=config.control_exchange,
        )
    except (cfg.Error, ValueError, OSError) as error:
        # oslo.config's text may show the line that it cannot read, and with it a password
        return NovaConf(files=given, error=f"cannot be read ({type(error).__name__})")
