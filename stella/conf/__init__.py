"""Options of Stella's services, one module for each group. The configuration is made once by `load` and passed in, never global."""

from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log
from oslo_policy import opts as policy_opts

import stella
from stella.conf import api, auth, cloud, database, engine, link, notifications, quota, relief

DEFAULT_PATH = Path("/etc/stella/stella.conf")
GROUPS = (api, auth, cloud, database, engine, link, notifications, quota, relief)


class InvalidConfig(Exception):
    """The configuration cannot be used; the message is one line that names the file or option."""


def load(files: Sequence[str] | None = None, *, logging: bool = True) -> cfg.ConfigOpts:
    """Read these configuration files (none given: `DEFAULT_PATH`, if there is one). Raises `InvalidConfig`."""
    config = cfg.ConfigOpts()
    for module in GROUPS:
        config.register_opts(module.OPTIONS, group=module.GROUP)
    if logging:
        log.register_options(config)
    if files is None:
        files = [str(DEFAULT_PATH)] if DEFAULT_PATH.exists() else []
    try:
        config(args=[], project="stella", version=stella.__version__, default_config_files=list(files))
        for module in GROUPS:
            for option in module.OPTIONS:  # oslo.config reads a value only when it is asked for
                config[module.GROUP][option.dest]
    except (cfg.Error, ValueError) as error:
        raise InvalidConfig(" ".join(str(error).split())) from None
    policy_opts.set_defaults(config, policy_file="policy.yaml")
    return config


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Every group and its options, for `oslo-config-generator`."""
    return [(module.GROUP, list(module.OPTIONS)) for module in GROUPS]
