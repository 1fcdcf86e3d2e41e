"""`stella-engine`: the background work. Runs in the foreground until SIGTERM; several may run, one leads.

Exit codes: 0 stopped, or done with ``--once``; 1 it failed; 2 wrong usage or configuration.
"""

import argparse
import sys
from collections.abc import Sequence

from oslo_log import log

import stella
from stella import conf
from stella.db.database import Unreachable
from stella.db.leases import LeaseLost
from stella.engine import metrics, service, surroundings

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until stopped."""
    parser = argparse.ArgumentParser(prog="stella-engine", description="Do the background work of Stella.")
    parser.add_argument("--version", action="version", version=stella.__version__)
    parser.add_argument(
        "--config-file", action="append", metavar="FILE", help=f"default {conf.DEFAULT_PATH}, if there is one"
    )
    parser.add_argument(
        "--once", action="store_true", help="run every duty once and exit; refused while another engine leads"
    )
    given = parser.parse_args(arguments)
    try:
        config = conf.load(given.config_file)
        log.setup(config, "stella")
        surroundings.find(config)
        if config.engine.metrics_bind:
            metrics.parse_address(config.engine.metrics_bind)
    except (conf.InvalidConfig, metrics.InvalidAddress) as error:
        print(f"stella-engine: {error}", file=sys.stderr)
        return USAGE
    if not given.once:
        service.serve(given.config_file)
        return 0
    try:
        return 0 if service.once(config) else 1
    except Unreachable as error:
        print(f"stella-engine: the database cannot be reached: {error}", file=sys.stderr)
    except (LeaseLost, service.WrongVersion) as error:
        print(f"stella-engine: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
