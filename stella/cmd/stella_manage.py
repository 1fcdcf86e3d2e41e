"""`stella-manage`: the database, the hosts that may report, the tokens of a stand-alone Stella, reports computed again.

Exit codes: 0 done; 1 refused or failed, nothing was changed; 2 wrong usage or configuration.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from oslo_config import cfg
from oslo_db.exception import DBError

import stella
from stella import conf
from stella.api import strict_json
from stella.api.identity import InvalidTokenFile, new_token
from stella.api.schemas.host import MODES
from stella.api.schemas.vocabulary import NAME_PATTERN
from stella.conf.retention import DAY_SECONDS, Retention
from stella.db import hosts, migrations, retention
from stella.db.database import Conflict, Database, Unreachable
from stella.engine.duties.retention import cutoffs
from stella.sla.recompute import InvalidReport, recompute

USAGE = 2
_PURGE_BATCH = 2000
_LARGEST_DAYS = 36_500
_SHOWN_DIFFERENCES = 20
_Command = Callable[[cfg.ConfigOpts, argparse.Namespace], None]


class _Refused(Exception):
    """What was asked cannot be done; the message is one sentence."""


def _database(config: cfg.ConfigOpts) -> Database:
    return Database(config.database.connection, connect_retries=config.database.connect_retries)


def _db_sync(config: cfg.ConfigOpts, given: argparse.Namespace) -> None:
    print(migrations.sync(_database(config)))


def _db_version(config: cfg.ConfigOpts, given: argparse.Namespace) -> None:
    print(migrations.current(_database(config)) or "none")


def _db_purge(config: cfg.ConfigOpts, given: argparse.Namespace) -> None:
    kept = Retention.of(config)
    if given.older_than is not None:
        kept = kept.shorter(given.older_than * DAY_SECONDS)
    database = _database(config)
    verb = "would be deleted" if given.dry_run else "deleted"
    for kind in retention.kinds(cutoffs(kept, int(time.time()))):
        if given.dry_run:
            with database.reader() as session:
                count = kind.count(session)
        else:
            count = 0
            while deleted := database.write(partial(kind.delete, largest=_PURGE_BATCH)):
                count += deleted
        print(f"{kind.name}: {count} {verb}")


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= _LARGEST_DAYS:
        raise ValueError
    return days


def _host_enroll(config: cfg.ConfigOpts, given: argparse.Namespace) -> None:
    if not re.match(NAME_PATTERN, given.name):
        raise _Refused(f"{given.name[:64]!r} is not a host name: letters, digits, dot, dash and underscore")
    try:
        credential = _database(config).write(
            lambda session: hosts.enroll(session, given.name, mode=given.mode, now=time.time())
        )
    except hosts.AlreadyEnrolled:
        raise _Refused(f"host {given.name} is enrolled; revoke its credential first") from None
    print(credential)


def _host_revoke(config: cfg.ConfigOpts, given: argparse.Namespace) -> None:
    try:
        _database(config).write(lambda session: hosts.revoke(session, given.name))
    except hosts.NotEnrolled:
        raise _Refused(f"host {given.name[:64]} is not enrolled") from None


def _token_create(config: cfg.ConfigOpts, given: argparse.Namespace) -> None:
    path = Path(given.file or config.auth.token_file)
    roles = tuple(role.strip() for role in given.roles.split(",") if role.strip())
    try:
        print(new_token(path, user_id=given.user, project_id=given.project, roles=roles))
    except (InvalidTokenFile, ValueError, OSError) as error:
        raise _Refused(str(error)) from None


def _sla_recompute(config: cfg.ConfigOpts, given: argparse.Namespace) -> None:
    try:
        found = recompute(
            strict_json.parse(sys.stdin.buffer.read() if given.file == "-" else Path(given.file).read_bytes())
        )
    except (OSError, strict_json.NotJson, InvalidReport) as error:
        raise _Refused(f"{given.file}: {error}") from None
    totals = found.totals
    amount = f", credit {totals['credit_amount']} {totals['currency']}" if totals["credit_amount"] is not None else ""
    print(
        f"{totals['instances']} instances, {totals['instances_missed']} missed, {totals['instances_credited']} credited, "
        f"attainment {totals['attainment_ratio']}{amount}"
    )
    if found.differences:
        for difference in found.differences[:_SHOWN_DIFFERENCES]:
            print(f"stella-manage: {difference}", file=sys.stderr)
        raise _Refused(f"{given.file}: {len(found.differences)} differences from what it says")
    print("the report says the same, bit for bit")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stella-manage", description="Manage a Stella installation.")
    parser.add_argument("--version", action="version", version=stella.__version__)
    parser.add_argument(
        "--config-file", action="append", metavar="FILE", help=f"default {conf.DEFAULT_PATH}, if there is one"
    )
    areas = parser.add_subparsers(dest="area", required=True)

    db = areas.add_parser("db", help="the database").add_subparsers(dest="verb", required=True)
    db.add_parser("sync", help="bring it to this release's version").set_defaults(run=_db_sync)
    db.add_parser("version", help="print its version").set_defaults(run=_db_version)

    purge = db.add_parser("purge", help="delete what is kept no longer, as stella-engine does; print how much")
    purge.add_argument("--dry-run", action="store_true", help="delete nothing")
    purge.add_argument(
        "--older-than",
        type=_days,
        metavar="DAYS",
        help="minutes, closed violations, decisions and SLO history older than this (at least 1), instead of [engine] "
        "*_retention_days; hours and days are kept as configured",
    )
    purge.set_defaults(run=_db_purge)

    host = areas.add_parser("host", help="hosts that may report").add_subparsers(dest="verb", required=True)
    enroll = host.add_parser("enroll", help="give a host a credential, which is printed once and stored as a hash")
    enroll.add_argument("name")
    enroll.add_argument(
        "--mode", choices=MODES, default="observe", help="default: observe; nothing is changed on the host"
    )
    enroll.set_defaults(run=_host_enroll)
    revoke = host.add_parser("revoke", help="take a host's credential away")
    revoke.add_argument("name")
    revoke.set_defaults(run=_host_revoke)

    sla = areas.add_parser("sla", help="reports of SLAs").add_subparsers(dest="verb", required=True)
    again = sla.add_parser("recompute", help="compute a report again from the file alone; 1 where it says otherwise")
    again.add_argument("file", metavar="FILE", help="the JSON of GET /v1/slas/{id}/report; - for standard input")
    again.set_defaults(run=_sla_recompute)

    token = areas.add_parser("token", help="tokens of a stand-alone Stella").add_subparsers(dest="verb", required=True)
    create = token.add_parser("create", help="add a token, which is printed once and stored as a hash")
    create.add_argument("--user", required=True)
    create.add_argument("--project", required=True)
    create.add_argument("--roles", default="member", help="reader, member, admin, service; separated by commas")
    create.add_argument("--file", help="default: [auth] token_file")
    create.set_defaults(run=_token_create)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    given = _parser().parse_args(arguments)
    run: _Command = given.run
    try:
        run(conf.load(given.config_file, logging=False), given)
    except conf.InvalidConfig as error:
        print(f"stella-manage: {error}", file=sys.stderr)
        return USAGE
    except (_Refused, Unreachable, Conflict) as error:
        print(f"stella-manage: {error}", file=sys.stderr)
        return 1
    except DBError as error:
        print(f"stella-manage: database: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
