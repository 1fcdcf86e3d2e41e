"""``stella-bench``: run scenarios on real guests under several policies, and compare what they kept."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from stella.bench.generate import generate
from stella.bench.keys import InvalidScenario
from stella.bench.policies import NAMES
from stella.bench.progress import Progress
from stella.bench.scale import arguments as scale
from stella.bench.scenario import check_machine, shortened
from stella.bench.scenario_file import load_scenario
from stella.bench.standalone.arguments import add_commands
from stella.control.memory import Settings

OK, INVALID_SCENARIO, INVALID_RUN, INTERRUPTED = 0, 2, 3, 130
DEFAULT_CACHE = Path("/var/tmp/stella-bench")  # noqa: S108 (a real disk; the lab refuses what is not its own there)
_EPILOG = """exit status: 0 the run is valid, 2 the scenario is invalid (one line names the key), 3 the run is invalid (one line says
why), 130 interrupted; figures: 1 a row falls short. Guests, networks and control groups are always removed."""
_EXAMPLES = {
    "run": "stella-bench run scenarios/demonstration.yaml --policy none,stella --output results/mine",
    "check": "stella-bench check scenarios/*.yaml",
    "generate": "stella-bench generate --seed 7 --count 20 --output results/scenarios",
    "demo": "stella-bench demo --seconds 60",
    "tour": "stella-bench tour --cloud .run",
    "figures": "stella-bench figures --list",
    "report": "stella-bench report results/demo",
    "up": "stella-bench up --hosts sim:5",
    "down": "stella-bench down",
    "load": "stella-bench load vm1 packets",
}


def _policies(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(NAMES)}")
    if not names:
        raise argparse.ArgumentTypeError(f"name at least one of {', '.join(NAMES)}")
    return names


def _at_least(least: float) -> "type[float]":
    def read(text: str) -> float:
        value = float(text)
        if not least <= value < 1e6:
            raise argparse.ArgumentTypeError(f"must be at least {least:g}")
        return value

    return read  # type: ignore[return-value]


_Formatter = argparse.RawDescriptionHelpFormatter


def _epilog(*commands: str) -> str:
    examples = "\n".join(f"  {_EXAMPLES[command]}" for command in commands)
    return f"{_EPILOG}\n\nexample{'s' if len(commands) > 1 else ''}:\n{examples}"


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=_epilog(name), formatter_class=_Formatter
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="stella-bench",
        description="Run scenarios on real guests under several policies, and compare which floors were met.",
        epilog=_epilog(*_EXAMPLES),
        formatter_class=_Formatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    run = _command(commands, "run", "run a scenario under one or more policies (needs root)")
    run.add_argument("scenario", type=Path, metavar="SCENARIO.yaml")
    run.add_argument(
        "--policy", type=_policies, default=("none", "stella"), help=f"names joined by commas: {', '.join(NAMES)}"
    )
    run.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where results.json, CSV, report and pictures go"
    )
    run.add_argument(
        "--solo", type=_at_least(1), default=0.0, metavar="SECONDS", help="first measure each load alone for so long"
    )
    run.add_argument(
        "--seconds", type=int, choices=range(1, 100_001), metavar="N", help="measured time (default: the scenario's)"
    )
    run.add_argument(
        "--repeat", type=int, default=1, choices=range(1, 101), metavar="N", help="run each policy N times"
    )
    run.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, metavar="DIR", help="keeps the guest image (default: %(default)s)"
    )
    check = _command(commands, "check", "check scenarios without running them")
    check.add_argument("scenarios", type=Path, nargs="+", metavar="SCENARIO.yaml")
    made = _command(commands, "generate", "write scenarios made from a seed")
    made.add_argument("--seed", type=int, required=True)
    made.add_argument("--count", type=int, default=20, choices=range(1, 1001), metavar="N")
    made.add_argument("--output", type=Path, required=True, metavar="DIR")
    made.add_argument("--duration", type=int, default=60, metavar="SECONDS")
    made.add_argument(
        "--capacity-cores",
        type=_at_least(0.5),
        default=None,
        help="left for instances after overhead (default: cores less 10 %%)",
    )
    _add_figures(commands)
    add_commands(lambda name, text: _command(commands, name, text))
    scale.add_to(commands)
    report = _command(commands, "report", "make the report of a finished run again")
    report.add_argument("directory", type=Path, metavar="DIR")
    report.add_argument(
        "--chart", type=Path, metavar="FILE.svg", help="also draw the chart of docs/images: without Stella, and with it"
    )
    return top


def _add_figures(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = _command(commands, "demo", "run the demonstration without Stella and with it (needs root)")
    demo.add_argument(
        "--seconds", type=int, default=60, choices=range(10, 601), metavar="N", help="measured time of each"
    )
    demo.add_argument(
        "--on",
        choices=("lab", "openstack"),
        default="lab",
        help="the bench's own guests, or servers in the OpenStack of `make openstack` (default: %(default)s)",
    )
    demo.add_argument(
        "--through",
        choices=("command", "browser"),
        default="command",
        help="with --on openstack: the SLOs are set with `openstack slo set`, or in Horizon (default: %(default)s)",
    )
    demo.add_argument(
        "--cloud",
        type=Path,
        default=Path(".run"),
        metavar="DIR",
        help="with --on openstack: where `make openstack` wrote its credentials (default: %(default)s)",
    )
    tour = _command(commands, "tour", "lose a host of `make openstack HOSTS=2` and see its SLOs come back (needs root)")
    tour.add_argument("--cloud", type=Path, default=Path(".run"), metavar="DIR", help="default: %(default)s")
    tour.add_argument(
        "--output", type=Path, default=Path("results/tour"), metavar="DIR", help="for pictures (default: %(default)s)"
    )
    figures = _command(commands, "figures", "measure every figure of docs/benchmarks.md (needs root)")
    figures.add_argument("--document", type=Path, default=Path("docs/benchmarks.md"), metavar="FILE.md")
    figures.add_argument("--only", default="", metavar="A,B", help="only these families (see --list)")
    figures.add_argument(
        "--repeat", type=int, default=3, choices=range(1, 101), metavar="N", help="rounds of the demonstration"
    )
    figures.add_argument("--fresh", action="store_true", help="run again what has been run already")
    figures.add_argument("--list", action="store_true", help="only list the families and how long they take")
    for command, where in ((demo, "results/demo"), (figures, "results/figures")):
        command.add_argument("--output", type=Path, default=Path(where), metavar="DIR", help="default: %(default)s")
        command.add_argument("--cache", type=Path, default=DEFAULT_CACHE, metavar="DIR", help="keeps the guest image")


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns the exit status."""
    options = parser().parse_args(arguments)
    progress = Progress()
    try:
        match options.command:
            case "run":
                return _run(options, progress)
            case "check":
                for path in options.scenarios:
                    scenario = load_scenario(path)
                    print(
                        f"{path}: {scenario.name}: {len(scenario.instances)} instances, {scenario.duration_seconds} s"
                    )
                return OK
            case "generate":
                return _generate(options)
            case "demo" | "tour":
                return (_demo if options.command == "demo" else _tour)(options, progress)
            case "figures":
                return _figures(options, progress)
            case "up" | "down" | "load":
                from stella.bench.standalone import command  # noqa: PLC0415

                return command.run(options, progress)
            case "scale":
                return _scale(options, progress)
            case _:
                return _report(options.directory, options.chart)
    except InvalidScenario as error:
        progress.close()
        print(error, file=sys.stderr)
        return INVALID_SCENARIO
    except KeyboardInterrupt:
        progress.note("interrupted; cleaned up")
        return INTERRUPTED
    finally:
        progress.close()


def _run(options: argparse.Namespace, progress: Progress) -> int:
    scenario = shortened(load_scenario(options.scenario), options.seconds)
    check_machine(scenario, cores=os.cpu_count() or 1)
    if not _is_root("run"):
        return INVALID_SCENARIO
    from stella.bench.lab.model import WorkloadError  # noqa: PLC0415 (the other commands need no laboratory)
    from stella.bench.policies.base import PolicyError  # noqa: PLC0415
    from stella.bench.report import text_table, write_report  # noqa: PLC0415
    from stella.bench.run import InvalidRun, Options, invalid_reasons, run_all  # noqa: PLC0415

    chosen = Options(
        policies=options.policy,
        output=options.output,
        cache=options.cache,
        solo_seconds=options.solo,
        repeat=options.repeat,
    )
    try:
        document = run_all(scenario, chosen, progress)
    except (InvalidRun, PolicyError) as error:
        progress.close()
        if isinstance(error.__cause__, WorkloadError):
            print(f"instances: {error}", file=sys.stderr)
            return INVALID_SCENARIO
        print(f"stella-bench: the run is invalid: {error}", file=sys.stderr)
        return INVALID_RUN
    progress.step("drawing the report")
    page = write_report(options.output, document)
    progress.close()
    print(text_table(document))
    print(f"\nreport: {page.resolve()}")
    reasons = invalid_reasons(document)
    for reason in reasons:
        print(f"stella-bench: the run is invalid: {reason}", file=sys.stderr)
    return INVALID_RUN if reasons else OK


def _is_root(command: str) -> bool:
    if os.geteuid() != 0:
        print(f"stella-bench: {command} needs root (libvirt, network namespaces, cgroups)", file=sys.stderr)
        return False
    return True


def _demo(options: argparse.Namespace, progress: Progress) -> int:
    if not _is_root("demo"):
        return INVALID_SCENARIO
    from stella.bench.demo import run_demo, run_on_openstack  # noqa: PLC0415
    from stella.bench.policies.base import PolicyError  # noqa: PLC0415
    from stella.bench.run import InvalidRun  # noqa: PLC0415

    try:
        if options.on == "openstack":
            reasons = run_on_openstack(
                options.output,
                options.seconds,
                options.cache,
                options.cloud,
                progress,
                in_browser=options.through == "browser",
            )
        else:
            reasons = run_demo(options.output, options.seconds, options.cache, progress)
    except (InvalidRun, PolicyError) as error:
        reasons = [str(error)]
    progress.close()
    for reason in reasons:
        print(f"stella-bench: the run is invalid: {reason}", file=sys.stderr)
    return INVALID_RUN if reasons else OK


def _tour(options: argparse.Namespace, progress: Progress) -> int:
    if not _is_root("tour"):
        return INVALID_SCENARIO
    from stella.bench.lab.model import LabError  # noqa: PLC0415
    from stella.bench.openstack import tour  # noqa: PLC0415 (nothing else needs OpenStack's libraries)
    from stella.bench.openstack.policies import dashboard_of  # noqa: PLC0415
    from stella.bench.openstack.surroundings import find  # noqa: PLC0415
    from stella.bench.policies.base import PolicyError  # noqa: PLC0415

    try:
        there = find(options.cloud)
        table, missed = tour.run(there, dashboard_of(there, options.output), progress.note)
    except tour.NeedsTwoHosts as error:
        progress.note(str(error))
        return OK
    except (LabError, PolicyError) as error:
        table, missed = "", [str(error)]
    progress.close()
    print(table)
    for reason in missed:
        print(f"stella-bench: the tour failed: {reason}", file=sys.stderr)
    return INVALID_RUN if missed else OK


def _figures(options: argparse.Namespace, progress: Progress) -> int:
    from stella.bench import figures  # noqa: PLC0415

    try:
        if options.list:
            print(figures.listing(options.only, options.repeat))
            return OK
        if not _is_root("figures"):
            return INVALID_SCENARIO
        asked = figures.Asked(
            output=options.output,
            document=options.document,
            cache=options.cache,
            only=options.only,
            repeat=options.repeat,
            fresh=options.fresh,
        )
        rows = figures.run_figures(asked, progress)
    except (figures.UnknownFamily, figures.InvalidStore) as error:
        progress.close()
        print(error, file=sys.stderr)
        return INVALID_SCENARIO
    print(f"\nwritten: {options.document}, {options.output / 'figures.json'}")
    return figures.exit_status(rows)


def _scale(options: argparse.Namespace, progress: Progress) -> int:
    from stella.bench.scale import command  # noqa: PLC0415 (the other commands need no database or API)

    return command.run(options, progress)


def _generate(options: argparse.Namespace) -> int:
    cpus = os.cpu_count() or 1
    made = generate(
        options.seed,
        options.count,
        settings=Settings(),
        capacity_cores=options.capacity_cores or 0.9 * cpus,
        duration_seconds=options.duration,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    for document in made:
        path = options.output / f"{document['name']}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        print(path)
    return OK


def _report(directory: Path, chart: Path | None) -> int:
    from stella.bench.report import text_table, write_report  # noqa: PLC0415

    try:
        document = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"stella-bench: {directory}: no results: {error}", file=sys.stderr)
        return INVALID_SCENARIO
    if chart is not None:
        from stella.bench.report.panels import NoPanels, write_panels  # noqa: PLC0415

        try:
            write_panels(directory, document, chart)
        except (NoPanels, OSError) as error:
            print(f"stella-bench: --chart: {error}", file=sys.stderr)
            return INVALID_SCENARIO
    page = write_report(directory, document)
    print(text_table(document))
    print(f"\nreport: {page.resolve()}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
