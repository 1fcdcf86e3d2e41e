"""`stella-top`: the instances of this host and what the agent does for them, live in a terminal.

One line for the host, then for each instance its CPU (demand, allocation, usage), and for each objective its value, demand and
usage, its status in a colour *and* a word, what is left of its error budget, the cause and the offender. Works in 80 columns.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stella.xgos.local_api.client import DEFAULT_SOCKET, Client, RequestRefused, Unreachable
from stella.xgos.local_api.format import plain, show, show_cores, show_ratio

_WIDE_COLUMNS = 110
_MONTH_SECONDS = 60.0
_SHOWN_AS_MINUTES = 120
_STYLES = {
    "MET": "green",
    "NO_DEMAND": "dim",
    "SELF_LIMITED": "cyan",
    "DEGRADED": "yellow",
    "VIOLATED": "bold red",
    "UNKNOWN": "magenta",
    "PENDING": "blue",
}
_SHORT = {
    "cpu": "cpu",
    "network_packets": "net packets",
    "network_bytes": "net bytes",
    "block_bytes": "disk bytes",
    "block_operations": "disk ops",
    "block_latency": "disk latency",
}


def host_line(status: Mapping[str, Any]) -> Text:
    """The host and the agent in two short lines."""
    host = status["host"]
    line = Text(no_wrap=False)
    line.append("Stella", style="bold")
    line.append(f"  {status['mode']}", style="green" if status["mode"] == "enforce" else "yellow")
    line.append(
        f"  {host['cores']:g} cores: busy {show_cores(host['busy_cores'])}  instances {show_cores(host['instances_cores'])}"
        f"  overhead {show_cores(host['overhead_cores'])}  steal {show_cores(host['steal_cores'])}\n"
        f"reserved {show_cores(status['reserved_cpu_cores'])} of {show_cores(status['capacity_cpu_cores'])} cores"
        f"  ticks {status['ticks']}  late {status['late_ticks']}"
    )
    open_violations = status["open_violations"]
    line.append(f"  open violations {open_violations}", style="bold red" if open_violations else "")
    failing = [plain(s["name"]) for s in status["sensors"] if not s["ok"]]
    if failing:
        line.append(f"\nsensors failing: {', '.join(failing)}", style="magenta")
    if not status["persisted"]:
        line.append("\nstate cannot be written to disk: it is kept in memory only", style="bold red")
    return line


def _status(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def _budget(objective: Mapping[str, Any]) -> Text:
    """How long it may still be missed this month; without an SLA class the attainment of the month."""
    budget, month = objective.get("budget"), objective["attainment"].get("month")
    if budget is None:
        return Text(show_ratio(month["ratio"]) if month else "-", style="dim")
    left = budget["left_seconds"]
    shown = f"{left / 60:.0f}min" if abs(left) >= _SHOWN_AS_MINUTES else f"{left}s"
    return Text(shown, style="bold red" if left < 0 else "")


def _offender(objective: Mapping[str, Any]) -> str:
    """Who took what it lacks, by name where the host knows it."""
    return plain(objective.get("offender_name") or objective.get("offender") or "")


def _offends(instance: Mapping[str, Any]) -> Text:
    count = instance.get("offends", 0)
    return Text(f"offends {count}", style="bold red") if count else Text()


def instance_table(instances: Sequence[Mapping[str, Any]], *, wide: bool = False) -> Table:
    """One row for each instance's CPU and one for each of its objectives. The offender has a column of its own where there is room."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("INSTANCE", ratio=3, overflow="ellipsis", no_wrap=True)
    table.add_column("OBJECTIVE", justify="right", ratio=3, no_wrap=True)
    for heading in ("DEMAND", "ALLOC", "USAGE"):
        table.add_column(heading, justify="right", ratio=2, no_wrap=True)
    table.add_column("STATUS", no_wrap=True, min_width=12)
    table.add_column("1 MIN", justify="right", no_wrap=True, min_width=6)
    table.add_column("BUDGET", justify="right", no_wrap=True, min_width=6)
    if wide:
        table.add_column("1 H", justify="right", no_wrap=True, min_width=6)
        table.add_column("OFFENDER", ratio=3, overflow="ellipsis", no_wrap=True)
    order = sorted(instances, key=lambda i: (not i["objectives"], i["name"], i["uuid"]))
    for instance in order:
        cpu = instance.get("cpu") or {}
        state = "frozen" if instance.get("frozen") else ("" if instance["slo"] else "no SLO")
        table.add_row(
            Text(plain(instance["name"] or instance["uuid"]), style="bold"),
            Text(f"rsv {show_cores(instance['reserved_cpu_cores'])}" if instance["slo"] else ""),
            *(show_cores(cpu.get(key)) for key in ("demand_cores", "allocation_cores", "usage_cores")),
            _offends(instance) or Text(state or f"starved {cpu.get('starved_ratio', 0.0):.0%}", style="dim"),
        )
        for objective in instance["objectives"]:
            metric = objective["metric"]
            kind = "" if objective["kind"] == "floor" else {"ceiling": "≤", "target": "≤"}.get(objective["kind"], "w ")
            table.add_row(
                f" {_SHORT.get(metric, metric)}",
                kind
                + (f"{objective['value']:g}" if objective["kind"] == "weight" else show(objective["value"], metric)),
                show(objective["demand"], metric),
                "",
                show(objective["usage"], metric),
                _status(objective["status"]),
                show_ratio(objective["attainment"]["1m"]["ratio"]),
                _budget(objective),
                *((show_ratio(objective["attainment"]["1h"]["ratio"]), _offender(objective)) if wide else ()),
            )
            style = _STYLES.get(objective["status"], "")
            if objective["cause"]:
                table.add_row(Text(f"   cause: {plain(objective['cause'])}", style=style))
            if _offender(objective) and not wide:
                table.add_row(Text("   offender:", style=style), Text(_offender(objective), style=style))
    return table


def reasons(instances: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Why instances with an SLO have the allocation they have: one line each."""
    return [
        Text(f"{plain(i['name'] or i['uuid'])}: {plain(i['reason'])}", style="dim", no_wrap=True, overflow="ellipsis")
        for i in sorted(instances, key=lambda i: (i["name"], i["uuid"]))
        if i.get("reason") and i["slo"]
    ]


def frame(status: Mapping[str, Any], instances: Sequence[Mapping[str, Any]], *, width: int = 80) -> Group:
    """One whole frame."""
    table = instance_table(instances, wide=width >= _WIDE_COLUMNS)
    return Group(host_line(status), Text(), table, Text(), *reasons(instances))


class Reader:
    """Asks the agent for a frame. The month changes slowly and is the sum of many hours: it is asked for once a minute."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._month: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._due = 0.0

    def read(self, now: float) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        """Status and instances at ``now`` (seconds of a monotonic clock). Raises `Unreachable` and `RequestRefused`."""
        due = now >= self._due
        status, instances = self._client.status(), self._client.instances(month=due)
        if due:
            self._month = {
                (i["uuid"], o["metric"]): {"budget": o["budget"], "month": o["attainment"]["month"]}
                for i in instances
                for o in i["objectives"]
            }
            self._due = now + _MONTH_SECONDS
        for instance in instances:
            for objective in instance["objectives"]:
                kept = self._month.get((instance["uuid"], objective["metric"]), {})
                objective["budget"] = kept.get("budget")
                objective["attainment"]["month"] = kept.get("month")
        return status, instances


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes as `xgos`: 3 when the agent cannot be reached, 2 when it refuses."""
    parser = argparse.ArgumentParser(
        prog="stella-top",
        description="The instances of this host and what the agent does for them, live.",
        epilog="example: stella-top --interval 2",
    )
    parser.add_argument("--socket", type=Path, default=DEFAULT_SOCKET, metavar="PATH", help=f"default {DEFAULT_SOCKET}")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="default 1")
    options = parser.parse_args(arguments)
    if not 0.1 <= options.interval <= 3600:
        print("stella-top: --interval: must be a number from 0.1 to 3600", file=sys.stderr)
        return 2
    reader = Reader(Client(options.socket))
    console = Console()
    try:
        first = frame(*reader.read(time.monotonic()), width=console.width)
        if options.once:
            console.print(first)
            return 0
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(options.interval)
                live.update(_next_frame(reader, console.width), refresh=True)
    except Unreachable as error:
        print(f"stella-top: {error}", file=sys.stderr)
        return 3
    except RequestRefused as error:
        print(f"stella-top: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _next_frame(reader: Reader, width: int) -> Group | Text:
    """The next frame, or why there is none: the view stays up while the agent restarts."""
    try:
        return frame(*reader.read(time.monotonic()), width=width)
    except (Unreachable, RequestRefused) as error:
        return Text(f"waiting for the agent: {error}", style="bold yellow")


if __name__ == "__main__":
    sys.exit(main())
