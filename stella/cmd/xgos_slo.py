"""`xgos slo`: the options of `set`, `unset`, `list` and `show`, and what they ask of the agent."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from stella.model.slo import InvalidSlo, Metric, parse_slo
from stella.xgos.local_api import format as fmt
from stella.xgos.local_api.client import Client, RequestRefused

_OPTIONS: dict[str, tuple[Metric, str, str]] = {
    "--cpu": (Metric.CPU, "floor", "guaranteed CPU, such as 20%% (of one core) or 1.5cores"),
    "--cpu-ceiling": (Metric.CPU, "ceiling", "CPU it never exceeds"),
    "--cpu-weight": (Metric.CPU, "weight", "its share of what is left"),
    "--net-pps": (Metric.NETWORK_PACKETS, "floor", "guaranteed packet rate, such as 20k or 20kpps"),
    "--net-pps-ceiling": (Metric.NETWORK_PACKETS, "ceiling", "packet rate it never exceeds"),
    "--net-pps-weight": (Metric.NETWORK_PACKETS, "weight", "its share of what is left"),
    "--net-bytes": (Metric.NETWORK_BYTES, "floor", "guaranteed network rate, such as 500Mbit/s or 60MB/s"),
    "--net-bytes-ceiling": (Metric.NETWORK_BYTES, "ceiling", "network rate it never exceeds"),
    "--net-bytes-weight": (Metric.NETWORK_BYTES, "weight", "its share of what is left"),
    "--disk": (Metric.BLOCK_BYTES, "floor", "guaranteed disk rate, such as 300MB/s"),
    "--disk-ceiling": (Metric.BLOCK_BYTES, "ceiling", "disk rate it never exceeds"),
    "--disk-weight": (Metric.BLOCK_BYTES, "weight", "its share of what is left"),
    "--disk-unit": (Metric.BLOCK_BYTES, "unit", "smallest request the floor promises (default 64KiB)"),
    "--disk-iops": (Metric.BLOCK_OPERATIONS, "floor", "guaranteed disk operations, such as 8k or 8000iops"),
    "--disk-iops-ceiling": (Metric.BLOCK_OPERATIONS, "ceiling", "disk operations it never exceeds"),
    "--disk-iops-weight": (Metric.BLOCK_OPERATIONS, "weight", "its share of what is left"),
    "--disk-iops-unit": (Metric.BLOCK_OPERATIONS, "unit", "request size that counts as one operation (default 16KiB)"),
    "--disk-latency": (Metric.BLOCK_LATENCY, "target", "target for the mean latency, such as 5ms"),
}
_BY_FIELD = {f"{metric.value}.{key}": option for option, (metric, key, _) in _OPTIONS.items()}
_SHARED_FIELDS = {
    "network.direction": "--net-direction",
    "block.direction": "--disk-direction",
    "priority": "--priority",
}


def option_of(field: str) -> str | None:
    """The option that a field such as ``network_packets.floor`` came from."""
    if field in _BY_FIELD:
        return _BY_FIELD[field]
    metric, _, key = field.partition(".")
    return _SHARED_FIELDS.get(key) or _SHARED_FIELDS.get(f"{metric.partition('_')[0]}.{key}")


def add_parsers(commands: "argparse._SubParsersAction[Any]", shared: argparse.ArgumentParser) -> None:
    """Add `slo` and its commands. ``shared`` holds ``--socket`` and ``-f``."""
    slo = commands.add_parser("slo", help="set, withdraw, list and show SLOs", allow_abbrev=False)
    verbs = slo.add_subparsers(dest="verb", required=True, metavar="set|unset|list|show")
    text = (
        "Promise an instance performance. What is not named stays as it is: the instance's other objectives, and the other "
        "numbers of an objective that is named. 'none' takes a number away (--cpu-ceiling none)."
    )
    asked = verbs.add_parser("set", parents=[shared], description=text, help="promise performance", allow_abbrev=False)
    asked.add_argument("instance", metavar="UUID-OR-NAME")
    for option, (metric, _, meaning) in _OPTIONS.items():
        asked.add_argument(option, metavar="QUANTITY", help=f"{metric}: {meaning}")
    asked.add_argument("--net-direction", metavar="tx|rx|both", help="for the network objectives named here")
    asked.add_argument("--disk-direction", metavar="read|write|both", help="for the disk objectives named here")
    asked.add_argument(
        "--priority", metavar="N", help="0 to 100, for the objectives named here; the higher one is kept"
    )
    asked.add_argument("--replace", action="store_true", help="withdraw the objectives that are not named here")
    asked.add_argument("--dry-run", action="store_true", help="answer whether it fits, change nothing")
    gone = verbs.add_parser("unset", parents=[shared], help="withdraw an SLO or some metrics of it", allow_abbrev=False)
    gone.add_argument("instance", metavar="UUID-OR-NAME")
    gone.add_argument("metrics", nargs="*", metavar="METRIC", help=f"one of {', '.join(Metric)}; none: all of them")
    gone.add_argument("--dry-run", action="store_true", help="change nothing")
    verbs.add_parser("list", parents=[shared], help="all SLOs of this host", allow_abbrev=False)
    shown = verbs.add_parser("show", parents=[shared], help="one instance in full", allow_abbrev=False)
    shown.add_argument("instance", metavar="UUID-OR-NAME")


def _bare(text: str) -> str | float | None:
    """What was typed as a request has it: ``none`` takes away; weights and priorities are numbers."""
    if text.strip().lower() == "none":
        return None
    return text


def _plain_number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidSlo(field, f"{text[:60]!r} is not a number") from None


def requested_slo(options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """The SLO that the options name, as a request carries it. Raises `InvalidSlo` that names the field."""
    slo: dict[str, dict[str, object]] = {}
    for option, (metric, key, _) in _OPTIONS.items():
        text = getattr(options, option[2:].replace("-", "_"))
        if text is None:
            continue
        value: object = _bare(text)
        if key == "weight" and value is not None:
            value = _plain_number(f"{metric.value}.{key}", text)
        slo.setdefault(metric.value, {})[key] = value
    if not slo:
        raise InvalidSlo("slo", "name at least one objective, such as --cpu 20%")
    for option, resource in (("net_direction", "network"), ("disk_direction", "block")):
        direction = getattr(options, option)
        named = [metric for metric in slo if Metric(metric).resource == resource]
        if direction is not None and not named:
            raise InvalidSlo(f"{resource}.direction", "no objective of this kind is named")
        for name in named if direction is not None else ():
            slo[name]["direction"] = direction
    if options.priority is not None:
        for name, keys in slo.items():
            keys["priority"] = _plain_number(f"{name}.priority", options.priority)
    _check(slo)
    return slo


def _check(slo: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse what can be seen to be wrong without asking the agent."""
    for metric, keys in slo.items():
        given = {key: value for key, value in keys.items() if value is not None}
        if not given.keys() & {"floor", "ceiling", "weight", "target"}:
            if not given:
                continue
            given["target" if metric == Metric.BLOCK_LATENCY else "weight"] = (
                1.0  # the agent has the rest of this objective
            )
        parse_slo({metric: given})


def run(options: argparse.Namespace, client: Client) -> str:
    """Do what was asked and return what is to be printed. Raises `InvalidSlo`, `RequestRefused` and `Unreachable`."""
    as_json = options.format == "json"
    match options.verb:
        case "set":
            answer = client.set_slo(
                options.instance, requested_slo(options), replace=options.replace, dry_run=options.dry_run
            )
            return json.dumps(answer, indent=2) if as_json else _accepted(options.instance, answer)
        case "unset":
            answer = client.unset_slo(options.instance, options.metrics, dry_run=options.dry_run)
            return json.dumps(answer, indent=2) if as_json else _accepted(options.instance, answer)
        case "show":
            instance = client.show(options.instance)
            return json.dumps(instance, indent=2) if as_json else fmt.instance_text(instance)
    instances = client.ask("slo.list")["instances"]
    return json.dumps(instances, indent=2) if as_json else fmt.list_text(instances)


def _accepted(instance: str, answer: Mapping[str, Any]) -> str:
    would = "would be " if answer.get("dry_run") else ""
    if answer["slo"] is None:
        return f"{fmt.plain(instance)}: SLO {would}withdrawn"
    estimated = " (estimated: the host's priors, no history yet)" if answer.get("estimated") else ""
    promised = ", ".join(
        f"{metric} {key} {fmt.show(keys[key], metric) if key != 'weight' else format(keys[key], 'g')}"
        for metric, keys in answer["slo"].items()
        for key in ("floor", "ceiling", "target", "weight")
        if key in keys
    )
    reserved = f"{answer['reserved_cpu_cores']:.2f} cores of CPU {would}reserved{estimated}"
    return f"{fmt.plain(instance)}: {promised}; {reserved}; generation {answer['generation']}"


def refusal(error: RequestRefused) -> str:
    """One line for a request that was refused, with what would fit."""
    option = option_of(error.field)
    line = f"{option}: {error}" if option else str(error)
    if error.largest:
        largest = ", ".join(f"{metric} {fmt.show(value, metric)}" for metric, value in error.largest.items())
        line += f" (largest that would fit: {largest})"
    return line
