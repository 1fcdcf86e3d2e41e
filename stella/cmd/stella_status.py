"""`stella-status upgrade check`: whether this release can run on what is there.

Exit codes, as in OpenStack: 0 all well; 1 a warning; 2 a failure; 255 the check itself failed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

import stella
from stella import conf
from stella.api.identity import InvalidTokenFile, read_tokens
from stella.db import migrations
from stella.db.database import Database, Unreachable

SUCCESS, WARNING, FAILURE, BROKEN = 0, 1, 2, 255
_WORDS = {SUCCESS: "Success", WARNING: "Warning", FAILURE: "Failure"}


@dataclass(frozen=True, slots=True)
class Result:
    """One check: its name, its code, and one sentence."""

    name: str
    code: int
    detail: str


def _database(config: cfg.ConfigOpts) -> Result:
    try:
        database = Database(config.database.connection, connect_retries=0)
        database.ping()
        current, newest = migrations.current(database), migrations.newest(database)
    except Unreachable as error:
        return Result("Database", FAILURE, f"It cannot be reached: {error}")
    if current == newest:
        return Result("Database", SUCCESS, f"It has version {current}.")
    return Result("Database", FAILURE, f"It has version {current or 'none'}; run stella-manage db sync for {newest}.")


def _authentication(config: cfg.ConfigOpts) -> Result:
    if config.auth.strategy != "token_file":
        return Result("Authentication", SUCCESS, "Keystone's tokens.")
    path = Path(config.auth.token_file)
    if not path.exists():
        return Result("Authentication", WARNING, f"{path} does not exist; make it with stella-manage token create.")
    try:
        return Result("Authentication", SUCCESS, f"{len(read_tokens(path))} tokens in {path}.")
    except InvalidTokenFile as error:
        return Result("Authentication", FAILURE, str(error))


def check(config: cfg.ConfigOpts) -> list[Result]:
    """Run all checks."""
    return [_database(config), _authentication(config)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="stella-status", description="Tell whether Stella can be upgraded.")
    parser.add_argument("--version", action="version", version=stella.__version__)
    parser.add_argument(
        "--config-file", action="append", metavar="FILE", help=f"default {conf.DEFAULT_PATH}, if there is one"
    )
    areas = parser.add_subparsers(dest="area", required=True)
    areas.add_parser("upgrade", help="upgrades").add_subparsers(dest="verb", required=True).add_parser("check")
    given = parser.parse_args(arguments)
    try:
        results = check(conf.load(given.config_file, logging=False))
    except conf.InvalidConfig as error:
        print(f"stella-status: {error}", file=sys.stderr)
        return BROKEN
    for result in results:
        print(f"{result.name}: {_WORDS[result.code]}. {result.detail}")
    return max(result.code for result in results)


if __name__ == "__main__":
    sys.exit(main())
