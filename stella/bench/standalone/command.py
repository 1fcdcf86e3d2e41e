"""`stella-bench up`, `down` and `load`."""

import argparse
import sys
from pathlib import Path

from stella.bench.progress import Progress
from stella.bench.standalone.environment import next_commands, shown_path
from stella.bench.standalone.errors import StandaloneError, WrongRequest
from stella.bench.standalone.lifecycle import down, up
from stella.bench.standalone.load import ask_for_load
from stella.bench.standalone.paths import Paths, parse_hosts
from stella.bench.standalone.state import State

OK, WRONG_REQUEST, FAILED = 0, 2, 3


def started_text(state: State, paths: Paths, *, was_running: bool) -> str:
    """What is printed when it runs."""
    here = Path.cwd()
    simulated = state.hosts.simulated
    hosts = f"{simulated} simulated host{'s' * (simulated > 1)}" if simulated else "the laboratory's host"
    instances = f"{state.instances} instance{'s' * (state.instances > 1)}"
    verb = "runs already" if was_running else "runs"
    commands = next_commands(
        env=shown_path(paths.env, here), server=state.server, is_laboratory=not state.hosts.simulated
    )
    return "\n".join(
        (
            f"Stella {verb} at {state.endpoint} with {hosts} and {instances}. Try:",
            "",
            *(f"    {command}" for command in commands),
            "",
            f"API document: {state.endpoint}/openapi.json. Logs: {shown_path(paths.logs, here)}. To remove it: make down.",
        )
    )


def run(given: argparse.Namespace, progress: Progress) -> int:
    """One of the commands. Returns the exit status."""
    paths = Paths(given.directory.absolute())
    try:
        match given.command:
            case "up":
                state, was_running = up(paths, parse_hosts(given.hosts), progress.step)
                progress.close()
                print(started_text(state, paths, was_running=was_running))
            case "down":
                removed = down(paths, progress.step)
                progress.close()
                print("Stopped and removed." if removed else f"Nothing to remove in {paths.directory}.")
            case _:
                ask_for_load(paths, given.instance, given.load)
    except StandaloneError as error:
        progress.close()
        wrong = isinstance(error, WrongRequest)
        has_logs = given.command == "up" and not wrong and paths.logs.is_dir()
        logs = f" (logs: {shown_path(paths.logs, Path.cwd())})" if has_logs else ""
        print(f"stella-bench: {given.command}: {error}{logs}", file=sys.stderr)
        return WRONG_REQUEST if wrong else FAILED
    return OK
