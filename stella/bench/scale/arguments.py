"""The command line of ``stella-bench scale …``; imports nothing that the other commands do not need."""

import argparse
from pathlib import Path
from typing import TypeAlias

EPILOG = """exit status: 0 every must is kept, 1 one is short, 2 wrong usage, 3 it could not be measured, 130 interrupted.
Every process ends with the command; databases are in a temporary directory.

examples:
  stella-bench scale link
  stella-bench scale load
  stella-bench scale packing
  stella-bench scale sla
  stella-bench scale host --instances 200
  stella-bench scale admission --hosts 100,1000,10000 --database mariadb
  stella-bench scale load --hosts 200 --seconds 20 --no-placement"""
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError("must be from 1 to 1000000")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 1000:
        raise argparse.ArgumentTypeError("must be from 0.01 to 1000")
    return value


def _counts(text: str) -> tuple[int, ...]:
    found = tuple(_count(one) for one in text.split(",") if one.strip())
    if not found or list(found) != sorted(set(found)):
        raise argparse.ArgumentTypeError("must be numbers that rise, joined by commas")
    return found


def _add(commands: _Commands, name: str, text: str, *, seconds: int) -> argparse.ArgumentParser:
    made = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if seconds:
        made.add_argument("--seconds", type=_count, default=seconds, metavar="N", help="default: %(default)s")
    made.add_argument("--output", type=Path, default=Path("results/scale"), metavar="DIR", help="default: %(default)s")
    return made


def add_to(commands: _Commands) -> None:
    """Add the group ``scale``."""
    text = "measure load and scale: a real stella-api, emulated hosts and users"
    group = commands.add_parser("scale", help=text, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    figures = group.add_subparsers(dest="figure", required=True)
    link = _add(figures, "link", "from the API's yes to an SLO until its host enforces it", seconds=0)
    link.add_argument("--hosts", type=_count, default=50, metavar="N", help="default: %(default)s")
    link.add_argument("--changes", type=_count, default=100, metavar="N", help="default: %(default)s")
    link.add_argument("--database", choices=("sqlite", "mariadb"), default="sqlite", help="default: %(default)s")
    load = _add(
        figures, "load", "one core under a whole cloud, and its ceiling beside openstack-placement's", seconds=60
    )
    load.add_argument("--hosts", type=_count, default=1000, metavar="N", help="default: %(default)s")
    load.add_argument("--instances-per-host", type=_count, default=20, metavar="N", help="default: %(default)s")
    load.add_argument(
        "--placement-venv",
        type=Path,
        default=Path(".venv/placement"),
        metavar="DIR",
        help="made by scripts/placement-venv.sh (default: %(default)s)",
    )
    load.add_argument("--no-placement", action="store_true", help="leave placement out")
    admission = _add(figures, "admission", "yes or no to an SLO, with clouds of several sizes", seconds=0)
    admission.add_argument(
        "--hosts", type=_counts, default=(100, 1000, 10000), metavar="N,N", help="sizes (default: 100,1000,10000)"
    )
    admission.add_argument(
        "--admissions", type=_count, default=200, metavar="N", help="of each kind (default: %(default)s)"
    )
    admission.add_argument("--database", choices=("sqlite", "mariadb"), default="mariadb", help="default: %(default)s")
    packing = _add(
        figures, "packing", "Nova fills fake hosts with servers that have SLOs; needs `make openstack`", seconds=0
    )
    packing.add_argument("--hosts", type=_count, default=20, metavar="N", help="default: %(default)s")
    packing.add_argument("--creates", type=_count, default=300, metavar="N", help="default: %(default)s")
    packing.add_argument("--clients", type=_count, default=10, metavar="N", help="default: %(default)s")
    packing.add_argument(
        "--creates-per-second",
        type=_rate,
        default=1.0,
        metavar="R",
        help="of all clients together, at most: on few cores Nova itself fills them, and then everything waits (default: %(default)s)",
    )
    packing.add_argument(
        "--openrc",
        type=Path,
        default=Path(".run/openstack.env"),
        metavar="FILE",
        help="the administrator's, that make openstack wrote (default: %(default)s)",
    )
    sla = _add(figures, "sla", "closing a month of SLA classes of several sizes, and reports of it", seconds=0)
    sla.add_argument(
        "--instances",
        type=_counts,
        default=(4000, 8000, 16000),
        metavar="N,N",
        help="sizes of classes; 200000 alone measures a whole month without extrapolating (default: 4000,8000,16000)",
    )
    host = _add(figures, "host", "the agent beside many instances of one host (needs root)", seconds=60)
    host.add_argument("--instances", type=_count, default=200, metavar="N", help="default: %(default)s")
    document = _add(figures, "document", "write the last results into docs/scale.md", seconds=0)
    document.add_argument(
        "--page", type=Path, default=Path("docs/scale.md"), metavar="FILE", help="default: %(default)s"
    )
