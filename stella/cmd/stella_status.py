"""`stella-status upgrade check`: whether this release can run on what is there, and what to do where it cannot.

Exit codes, as in OpenStack: 0 all well; 1 a warning; 2 a failure; 255 the check itself failed.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

import stella
from stella import conf
from stella.checks import cloud
from stella.model import check

BROKEN = check.Code.BROKEN


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(
        prog="stella-status", description="Tell whether Stella can be upgraded, and whether its surroundings are right."
    )
    parser.add_argument("--version", action="version", version=stella.__version__)
    parser.add_argument(
        "--config-file", action="append", metavar="FILE", help=f"default {conf.DEFAULT_PATH}, if there is one"
    )
    areas = parser.add_subparsers(dest="area", required=True)
    verbs = areas.add_parser("upgrade", help="upgrades").add_subparsers(dest="verb", required=True)
    checking = verbs.add_parser(
        "check",
        help="database, Keystone, Nova, Placement, message queue, hosts; changes nothing",
        description="Check database, Keystone, Nova, Placement, message queue and hosts. Nothing is changed.",
        epilog="exit status: 0 all well, 1 a warning, 2 a failure, 255 the check itself failed",
    )
    checking.add_argument(
        "--nova-conf",
        action="append",
        metavar="PATH",
        default=[],
        help="configuration of nova-scheduler, a file (with its directory FILE.d) or a directory of files; may be repeated",
    )
    try:
        given = parser.parse_args(arguments)
    except SystemExit as error:  # argparse's own 2 would be a failure of what was checked
        return BROKEN if error.code else 0
    logging.basicConfig(level=logging.CRITICAL)  # what libraries would say is said by the checks
    try:
        results = cloud.check(conf.load(given.config_file, logging=False), nova_files=given.nova_conf)
    except conf.InvalidConfig as error:
        print(f"stella-status: {error}", file=sys.stderr)
        return BROKEN
    print("\n".join(check.lines(results)))
    return check.worst(results)


if __name__ == "__main__":
    sys.exit(main())
