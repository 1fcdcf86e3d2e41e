"""`xgos`: the node agent, and the command line that asks it.

Exit codes: 0 done; 1 the agent failed; 2 wrong usage, wrong configuration or refused (nothing was changed); 3 the agent
cannot be reached; 130 interrupted. Errors are one line on standard error that names the field. `xgos check` has those of OpenStack's
checks: 0 all well, 1 a warning, 2 a failure, 255 the check could not be done.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import stella
from stella.cmd import xgos_slo
from stella.model import check
from stella.model.intent import Mode
from stella.model.slo import InvalidSlo
from stella.xgos.local_api import format as fmt
from stella.xgos.local_api.client import DEFAULT_SOCKET, Client, RequestRefused, Unreachable
from stella.xgos.local_api.requests import one_line
from stella.xgos.process.config import DEFAULT_PATH, InvalidConfig, Options, load_config

USAGE, UNREACHABLE, INTERRUPTED = 2, 3, 130
UMASK = 0o026
"""Files of the agent are for its user and group alone. A directory that it makes can be entered by all, or the control socket's group
could not reach the socket; what is in it cannot be listed."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"xgos: {one_line(message)}\n")


_EPILOG = """exit status: 0 done, 1 the agent failed, 2 wrong usage or configuration, or refused (nothing was changed),
3 the agent cannot be reached, 130 interrupted; of check: 0 all well, 1 a warning, 2 a failure, 255 wrong usage or configuration

examples:
  xgos run --once --dry-run            print what one tick sees, decides and would write; change nothing
  xgos slo set web1 --cpu 20%          guarantee 20 % of one core to the instance web1
  xgos slo show web1                   its objectives, their status and the cause where one is missed
  xgos status                          the agent, its sensors, and what this host can enforce
  xgos release                         restore every setting that the agent changed"""


def _config_option() -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration file (default: {DEFAULT_PATH} if it exists)"
    )
    return parser


def _agent_options() -> _Parser:
    parser = _Parser(add_help=False, parents=[_config_option()])
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="read /proc and /sys below DIR (default: /)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, write nothing")
    return parser


def _socket_options() -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument(
        "--socket",
        type=Path,
        default=DEFAULT_SOCKET,
        metavar="PATH",
        help="the agent's control socket (default: %(default)s)",
    )
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table", help="default: table")
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="xgos",
        allow_abbrev=False,
        description="Stella's node agent, and the commands that ask it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"xgos {stella.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, parent: _Parser, *examples: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name,
            parents=[parent],
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog="\n  ".join(("examples:" if len(examples) > 1 else "example:", *examples)),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        return made

    agent, asking = _agent_options(), _socket_options()
    run = command(
        "run",
        "run the agent until SIGTERM, then restore the host",
        agent,
        "xgos run --config /etc/stella/xgos.toml",
        "xgos run --once --dry-run",
    )
    run.add_argument("--mode", choices=list(Mode), help="overrides the configuration's mode")
    run.add_argument("--once", action="store_true", help="run one tick, print it as JSON, and exit")
    run.add_argument("--release", action="store_true", help="same as 'xgos release'")
    command(
        "release",
        "restore every setting that an agent changed; refused while one runs",
        agent,
        "xgos release --dry-run",
        "xgos release",
    )
    checking = command(
        "check",
        "tell whether this host is as the agent needs it, and what to do where it is not; change nothing",
        _config_option(),
        "xgos check",
        "xgos check --nova-conf /etc/nova/nova-compute.conf",
    )
    checking.add_argument(
        "--nova-conf",
        action="append",
        metavar="PATH",
        default=[],
        help="configuration of nova-compute, a file or a directory of files; may be repeated (default: where Nova looks)",
    )
    xgos_slo.add_parsers(commands, asking)
    events = command("events", "list violations, with cause", asking, "xgos events --open", "xgos events web1 -f json")
    events.add_argument("instance", nargs="?", metavar="UUID-OR-NAME", help="only this instance (default: all)")
    events.add_argument("--open", action="store_true", help="only violations that have not ended")
    command("status", "show the agent's state and what this host can enforce", asking, "xgos status")
    command("instances", "show all instances of this host", asking, "xgos instances -f json")
    command(
        "calibrate",
        "measure the CPU cost of I/O on this host, for instances without history",
        asking,
        "xgos calibrate",
    )
    return parser


def _run_agent(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    if getattr(options, "mode", None):
        config = replace(config, mode=Mode(options.mode))
    if not options.root.is_dir():
        raise InvalidConfig("--root", f"{options.root}: is no directory")
    os.umask(UMASK)
    from stella.xgos.process import main  # noqa: PLC0415  # the other commands need neither the loop nor libvirt

    return main.run(
        config,
        Options(
            once=getattr(options, "once", False),
            dry_run=options.dry_run,
            release=options.command == "release" or getattr(options, "release", False),
            root=options.root,
        ),
    )


def _check(options: argparse.Namespace) -> int:
    """Look at the host, and print a line for each thing."""
    from stella.xgos.checks import gather, verdicts  # noqa: PLC0415  # the other commands need no client of the API
    from stella.xgos.host_files import HostFiles  # noqa: PLC0415

    config = load_config(options.config)
    results = verdicts.check(gather.gather(config, HostFiles(), nova_files=options.nova_conf))
    print("\n".join(check.lines(results)))
    return check.worst(results)


def _ask(options: argparse.Namespace) -> str:
    client = Client(options.socket, timeout_seconds=120.0 if options.command == "calibrate" else 15.0)
    as_json = options.format == "json"
    match options.command:
        case "slo":
            return xgos_slo.run(options, client)
        case "events":
            keys = {"instance": options.instance} if options.instance else {}
            found = client.violations(open=options.open, **keys)
            return json.dumps(found, indent=2) if as_json else fmt.violations_text(found)
        case "instances":
            instances = client.instances()
            shown = "\n\n".join(fmt.instance_text(instance) for instance in instances)
            return json.dumps(instances, indent=2) if as_json else shown or "no instances"
        case "calibrate":
            priors = client.ask("calibrate")["priors"]
            return json.dumps(priors, indent=2) if as_json else fmt.table(("PRIOR", "VALUE"), list(priors.items()))
    status = client.status()
    return json.dumps(status, indent=2) if as_json else fmt.status_text(status)


def _fail(code: int, line: str) -> int:
    print(f"xgos: {one_line(line)}", file=sys.stderr)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        words.insert(0, "run")  # `xgos --root DIR --once`, `xgos --release`
    usage = check.Code.BROKEN if words[:1] == ["check"] else USAGE
    try:
        options = build_parser().parse_args(words)
        if options.command in ("run", "release"):
            return _run_agent(options)
        if options.command == "check":
            return _check(options)
        print(_ask(options))
    except (InvalidConfig, InvalidSlo) as error:
        option = xgos_slo.option_of(error.field)
        return _fail(usage, f"{option}: {error}" if option else str(error))
    except RequestRefused as error:
        return _fail(USAGE, xgos_slo.refusal(error))
    except Unreachable as error:
        return _fail(UNREACHABLE, str(error))
    except SystemExit as error:  # argparse: its own codes, whether --help or wrong usage
        return usage if error.code else 0
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
