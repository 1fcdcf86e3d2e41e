"""`stella-sim`: simulated hosts that run the real agent, linked to stella-api, without root, QEMU or control groups.

`stella-sim check` runs the control law on a model of a host at virtual time, and says whether its properties hold. `stella-sim cloud`
runs many hosts of a coarser model under the real admission, relief and SLA arithmetic, and prints what became of the SLAs.

Exit codes: 0 ended by SIGTERM or SIGINT, or all properties hold; 1 failed, or one does not hold; 2 wrong usage or configuration
(nothing was started).
"""

import argparse
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import stella
from stella.control.relief_view import Mode
from stella.sim.check import broken, results, table
from stella.sim.cloud.scenario import Shape
from stella.sim.host import CORES, INSTANCES
from stella.sim.run import CannotRun, Fleet, run
from stella.sim.telling import tell
from stella.xgos.host_files import raise_descriptor_limit
from stella.xgos.process.config import InvalidConfig
from stella.xgos.process.own_group import AlreadyRunning

FAILED, USAGE = 1, 2
_SEEDS, _CPUS, _MOST_CPUS = 20, (2, 16, 128), 256


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"stella-sim: {' '.join(message.split())}\n")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = low - 1
        if not low <= found <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text!r}")
        return found

    return read


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}", text):
        raise argparse.ArgumentTypeError(f"must be letters, digits, dot, dash and underscore, not {text[:64]!r}")
    return text


def _cpus(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_whole(1, _MOST_CPUS)(each) for each in text.split(",")))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = _Parser(prog="stella-sim", allow_abbrev=False, description=__doc__.splitlines()[0].partition(": ")[2])
    parser.add_argument("--version", action="version", version=f"stella-sim {stella.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_run(commands)
    _add_check(commands)
    _add_cloud(commands)
    return parser


def _add_cloud(commands: "argparse._SubParsersAction[_Parser]") -> None:
    one = commands.add_parser(
        "cloud",
        allow_abbrev=False,
        help="run many modelled hosts for a day, and print attainment, credits, moves and refusals",
        description="Run many hosts of a coarse model at virtual time under the real admission, relief and SLA arithmetic.",
        epilog="example: stella-sim cloud --hosts 1000 --hours 24 --seed 7; then the same day with --relief off",
    )
    one.add_argument("--hosts", type=_whole(1, 100_000), required=True, metavar="N", help="how many")
    one.add_argument("--hours", type=_whole(1, 744), default=24, metavar="H", help="from noon on (default: 24)")
    one.add_argument("--seed", type=_whole(0, 2**31), default=0, metavar="S", help="of all chance (default: 0)")
    one.add_argument(
        "--relief",
        choices=("off", "act"),
        default="act",
        help="whether instances move from hosts that cannot keep their floors, and from dead ones (default: act)",
    )
    one.add_argument("--cores", type=_whole(2, 1024), default=16, metavar="C", help="of each host (default: 16)")
    one.add_argument(
        "--instances-per-host", type=_whole(1, 1000), default=16, metavar="M", help="about as many (default: 16)"
    )


def _add_check(commands: "argparse._SubParsersAction[_Parser]") -> None:
    one = commands.add_parser(
        "check",
        allow_abbrev=False,
        help="check the properties of the control law on a model of a host",
        description="Run the control law on a model of a host at virtual time, and print whether its properties hold.",
        epilog="example: stella-sim check --seeds 20 --cpus 2,16,128; then one case in words: stella-sim check --seed 7 --cpus 16",
    )
    which = one.add_mutually_exclusive_group()
    which.add_argument(
        "--seeds", type=_whole(1, 1_000_000), default=_SEEDS, metavar="N", help=f"seeds 0 to N-1 (default: {_SEEDS})"
    )
    which.add_argument("--seed", type=_whole(0, 2**31), metavar="S", help="only this one, told in words")
    default = ",".join(map(str, _CPUS))
    one.add_argument(
        "--cpus", type=_cpus, default=_CPUS, metavar="N,N,...", help=f"CPUs of the host (default: {default})"
    )
    one.add_argument(
        "--overruns",
        action="store_true",
        help="threads that never sleep keep 0.4 of a CPU from those that batch, whatever their weights",
    )


def _add_run(commands: "argparse._SubParsersAction[_Parser]") -> None:
    one = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="run simulated hosts in the foreground until SIGTERM",
        description="Run the hosts sim1 to simN in the foreground until SIGTERM.",
        epilog="example: stella-sim run --hosts 5 --api-url http://127.0.0.1:9800 --credentials-dir cred --state-dir state",
    )
    one.add_argument("--hosts", type=_whole(1, 10_000), required=True, metavar="N", help="how many")
    one.add_argument("--api-url", required=True, metavar="URL", help="where stella-api is")
    one.add_argument(
        "--credentials-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="DIR/simN holds the credential that 'stella-manage host enroll simN --mode enforce' printed (mode 0600)",
    )
    one.add_argument(
        "--state-dir", type=Path, required=True, metavar="DIR", help="DIR/simN keeps what the agent of simN keeps"
    )
    one.add_argument("--seed", type=_whole(0, 2**31), default=0, metavar="S", help="of all chance (default: 0)")
    one.add_argument(
        "--instances-per-host", type=_whole(0, 1000), default=INSTANCES, metavar="M", help=f"default: {INSTANCES}"
    )
    one.add_argument(
        "--cores", type=_whole(1, 1024), default=CORES, metavar="C", help=f"of each host (default: {CORES})"
    )
    one.add_argument(
        "--tick-milliseconds", type=_whole(100, 5000), default=250, metavar="MS", help="of the agents (default: 250)"
    )
    one.add_argument("--name-prefix", type=_prefix, default="sim", metavar="TEXT", help="of the hosts (default: sim)")
    one.add_argument(
        "--first", type=_whole(1, 10_000), default=1, metavar="N", help="number of the first host (default: 1)"
    )
    one.add_argument(
        "--listed-instances",
        type=Path,
        metavar="DIR",
        help="DIR/simN.json lists the instances of simN, which come and go with it, instead of --instances-per-host; "
        'as {"instances": [{"uuid", "name", "project", "flavor", "vcpus", "running"}]}',
    )
    one.add_argument("--verbose", action="store_true", help="also log what the agents do, not only what fails")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = build_parser().parse_args(arguments)
    if options.command == "cloud":
        return _cloud(options)
    if options.command != "check":
        return _run(options)
    log = logging.getLogger("stella")
    before = log.level
    log.setLevel(logging.ERROR)  # what a simulated agent warns of is told by the table
    try:
        return _check(options)
    finally:
        log.setLevel(before)


def _check(options: argparse.Namespace) -> int:
    if options.seed is not None:
        held = [not broken(tell(options.seed, cores, print, overruns=options.overruns)) for cores in options.cpus]
        return 0 if all(held) else FAILED
    found = []
    for result in results(range(options.seeds), options.cpus, overruns=options.overruns):
        found.append(result)
        for each in broken(result):
            what = f"seed {result.seed}, {result.cores} CPUs: {each.name}: {each.figure(result):.3f}, not {each.bound}"
            print(what, file=sys.stderr)
    print("\n".join(table(found)))
    return FAILED if any(broken(result) for result in found) else 0


def _cloud(options: argparse.Namespace) -> int:
    try:
        from stella.sim.cloud.run import lines, run_cloud  # noqa: PLC0415 - numpy, which nothing else here needs
    except ModuleNotFoundError as error:
        print(f"stella-sim: cloud needs {error.name}: pip install 'stella[sim]'", file=sys.stderr)
        return USAGE
    shape = Shape(
        hosts=options.hosts,
        hours=options.hours,
        seed=options.seed,
        cores=options.cores,
        instances_per_host=options.instances_per_host,
    )
    began = time.monotonic()
    print("\n".join(lines(run_cloud(shape, Mode(options.relief)))))
    print(f"wall time: {time.monotonic() - began:.1f} s")
    return 0


def _run(options: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s stella-sim %(levelname)s %(threadName)s: %(message)s",
        stream=sys.stderr,
    )
    if not options.verbose:
        logging.getLogger("stella.xgos").setLevel(logging.WARNING)
    os.umask(0o027)
    raise_descriptor_limit()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    fleet = Fleet(
        hosts=options.hosts,
        api_url=options.api_url,
        credentials=options.credentials_dir,
        state=options.state_dir,
        seed=options.seed,
        cores=options.cores,
        instances=options.instances_per_host,
        tick_milliseconds=options.tick_milliseconds,
        prefix=options.name_prefix,
        first=options.first,
        listed_instances=options.listed_instances,
    )
    try:
        run(fleet, stop)
    except (CannotRun, InvalidConfig) as error:
        print(f"stella-sim: {error}", file=sys.stderr)
        return USAGE
    except (AlreadyRunning, OSError) as error:
        print(f"stella-sim: {error}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
