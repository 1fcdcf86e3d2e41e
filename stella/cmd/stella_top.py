"""`stella-top`: the instances of this host and what the agent does for them, live in a terminal.

One line for the host, then for each instance its CPU (demand, allocation, usage), and for each objective its value, demand and
usage, its status in a colour *and* a word, and the cause. Works in 80 columns.
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


def instance_table(instances: Sequence[Mapping[str, Any]]) -> Table:
    """One row for each instance's CPU and one for each of its objectives."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("INSTANCE", ratio=3, overflow="ellipsis", no_wrap=True)
    table.add_column("OBJECTIVE", justify="right", ratio=3, no_wrap=True)
    for heading in ("DEMAND", "ALLOC", "USAGE"):
        table.add_column(heading, justify="right", ratio=2, no_wrap=True)
    table.add_column("STATUS", no_wrap=True, min_width=12)
    table.add_column("1 MIN", justify="right", no_wrap=True, min_width=6)
    table.add_column("1 H", justify="right", no_wrap=True, min_width=6)
    order = sorted(instances, key=lambda i: (not i["objectives"], i["name"], i["uuid"]))
    for instance in order:
        cpu = instance.get("cpu") or {}
        state = "frozen" if instance.get("frozen") else ("" if instance["slo"] else "no SLO")
        table.add_row(
            Text(plain(instance["name"] or instance["uuid"]), style="bold"),
            Text(f"rsv {show_cores(instance['reserved_cpu_cores'])}" if instance["slo"] else ""),
            *(show_cores(cpu.get(key)) for key in ("demand_cores", "allocation_cores", "usage_cores")),
            Text(state or f"starved {cpu.get('starved_ratio', 0.0):.0%}", style="dim"),
            "",
            "",
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
                show_ratio(objective["attainment"]["1h"]["ratio"]),
            )
            if objective["cause"]:
                table.add_row(
                    Text(f"   cause: {plain(objective['cause'])}", style=_STYLES.get(objective["status"], ""))
                )
    return table


def reasons(instances: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Why instances with an SLO have the allocation they have: one line each."""
    return [
        Text(f"{plain(i['name'] or i['uuid'])}: {plain(i['reason'])}", style="dim", no_wrap=True, overflow="ellipsis")
        for i in sorted(instances, key=lambda i: (i["name"], i["uuid"]))
        if i.get("reason") and i["slo"]
    ]


def frame(status: Mapping[str, Any], instances: Sequence[Mapping[str, Any]]) -> Group:
    """One whole frame."""
    return Group(host_line(status), Text(), instance_table(instances), Text(), *reasons(instances))


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
    client = Client(options.socket)
    console = Console()
    try:
        first = frame(client.status(), client.instances())
        if options.once:
            console.print(first)
            return 0
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(options.interval)
                live.update(_next_frame(client), refresh=True)
    except Unreachable as error:
        print(f"stella-top: {error}", file=sys.stderr)
        return 3
    except RequestRefused as error:
        print(f"stella-top: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _next_frame(client: Client) -> Group | Text:
    """The next frame, or why there is none: the view stays up while the agent restarts."""
    try:
        return frame(client.status(), client.instances())
    except (Unreachable, RequestRefused) as error:
        return Text(f"waiting for the agent: {error}", style="bold yellow")


if __name__ == "__main__":
    sys.exit(main())
