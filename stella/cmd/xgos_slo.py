"""`xgos slo`: the options of `set`, `unset`, `list` and `show`, and what they ask of the agent."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from stella.model.slo import InvalidSlo, Metric, parse_slo
from stella.xgos.local_api import format as fmt
from stella.xgos.local_api.client import Client, RequestRefused

_OPTIONS: dict[str, tuple[Metric, str, str]] = {
    "--cpu": (Metric.CPU, "floor", "guaranteed CPU: 20%% (of one core) or 1.5cores"),
    "--cpu-ceiling": (Metric.CPU, "ceiling", "upper limit of CPU: 150%% or 2cores"),
    "--cpu-weight": (Metric.CPU, "weight", "share of the rest, after all guarantees: 2 is twice the default 1"),
    "--net-pps": (Metric.NETWORK_PACKETS, "floor", "guaranteed packets per second: 20k or 20kpps"),
    "--net-pps-ceiling": (Metric.NETWORK_PACKETS, "ceiling", "upper limit of packets per second: 40kpps"),
    "--net-pps-weight": (
        Metric.NETWORK_PACKETS,
        "weight",
        "share of the rest, after all guarantees: 2 is twice the default 1",
    ),
    "--net-bytes": (Metric.NETWORK_BYTES, "floor", "guaranteed network throughput: 500Mbit/s or 60MB/s"),
    "--net-bytes-ceiling": (Metric.NETWORK_BYTES, "ceiling", "upper limit of network throughput: 1Gbit/s"),
    "--net-bytes-weight": (
        Metric.NETWORK_BYTES,
        "weight",
        "share of the rest, after all guarantees: 2 is twice the default 1",
    ),
    "--disk": (Metric.BLOCK_BYTES, "floor", "guaranteed disk throughput: 300MB/s"),
    "--disk-ceiling": (Metric.BLOCK_BYTES, "ceiling", "upper limit of disk throughput: 500MB/s"),
    "--disk-weight": (
        Metric.BLOCK_BYTES,
        "weight",
        "share of the rest, after all guarantees: 2 is twice the default 1",
    ),
    "--disk-unit": (
        Metric.BLOCK_BYTES,
        "unit",
        "request size the guarantee is for; smaller requests scale it down: 64KiB (default)",
    ),
    "--disk-iops": (Metric.BLOCK_OPERATIONS, "floor", "guaranteed disk operations per second: 8k or 8000iops"),
    "--disk-iops-ceiling": (Metric.BLOCK_OPERATIONS, "ceiling", "upper limit of disk operations per second: 16kiops"),
    "--disk-iops-weight": (
        Metric.BLOCK_OPERATIONS,
        "weight",
        "share of the rest, after all guarantees: 2 is twice the default 1",
    ),
    "--disk-iops-unit": (Metric.BLOCK_OPERATIONS, "unit", "request size that counts as one operation: 16KiB (default)"),
    "--disk-latency": (Metric.BLOCK_LATENCY, "target", "target for the mean latency of a request: 5ms"),
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


_SET = """Guarantee performance to an instance. Objectives that are not named stay as they are, and so do the other numbers of
an objective that is named. The value 'none' removes a number (--cpu-ceiling none). The SLO is accepted only if this host can hold
it; a refusal names the largest value that fits. What this host cannot enforce is refused: see 'xgos status'."""

_SET_EXAMPLES = """examples:
  xgos slo set web1 --cpu 20%                                  20 % of one core
  xgos slo set web1 --net-pps 20kpps --net-direction tx        20 000 sent packets per second
  xgos slo set web1 --disk 300MB/s --disk-direction read       300 MB/s of reads
  xgos slo set web1 --cpu 1.5cores --cpu-ceiling 2cores --priority 10
  xgos slo set web1 --cpu 4cores --dry-run                     would it fit?
  xgos slo set web1 --cpu-ceiling none                         remove the ceiling, keep the rest"""


def _examples(*lines: str) -> str:
    return "\n".join(("examples:" if len(lines) > 1 else "example:", *(f"  {line}" for line in lines)))


def add_parsers(commands: "argparse._SubParsersAction[Any]", shared: argparse.ArgumentParser) -> None:
    """Add `slo` and its commands. ``shared`` holds ``--socket`` and ``-f``."""
    slo = commands.add_parser(
        "slo",
        help="set, remove, list and show SLOs",
        description="Set, remove, list and show the service level objectives (SLOs) of this host's instances.",
        epilog=_examples("xgos slo set web1 --cpu 20%", "xgos slo show web1", "xgos slo list"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = slo.add_subparsers(dest="verb", required=True, metavar="set|unset|list|show")

    def verb(name: str, text: str, examples: str, description: str = "") -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(
            name,
            parents=[shared],
            help=text,
            description=description or f"{text[0].upper()}{text[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        return made

    _add_set(verb("set", "guarantee performance to an instance", _SET_EXAMPLES, _SET))
    removed = verb(
        "unset",
        "remove an SLO, or some metrics of it",
        _examples("xgos slo unset web1", "xgos slo unset web1 network_packets"),
    )
    removed.add_argument("instance", metavar="UUID-OR-NAME")
    removed.add_argument(
        "metrics", nargs="*", metavar="METRIC", help=f"metrics to remove (default: all): {', '.join(Metric)}"
    )
    removed.add_argument("--dry-run", action="store_true", help="show the result, change nothing")
    verb("list", "list all SLOs of this host", _examples("xgos slo list", "xgos slo list -f json"))
    shown = verb(
        "show",
        "show one instance: its SLO, status, cause, attainment and CPU cost",
        _examples("xgos slo show web1", "xgos slo show 5f1d0c1e-8f0b-4d0e-9c55-0c8f4f6b3a11 -f json"),
    )
    shown.add_argument("instance", metavar="UUID-OR-NAME")


def _add_set(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("instance", metavar="UUID-OR-NAME")
    for option, (_, _, meaning) in _OPTIONS.items():
        asked.add_argument(option, metavar="QUANTITY", help=meaning)
    asked.add_argument(
        "--net-direction", metavar="tx|rx|both", help="direction of the network objectives in this command"
    )
    asked.add_argument(
        "--disk-direction", metavar="read|write|both", help="direction of the disk objectives in this command"
    )
    asked.add_argument(
        "--priority",
        metavar="N",
        help="0 (default) to 100: when the host cannot hold all floors, the higher one is kept",
    )
    asked.add_argument("--replace", action="store_true", help="remove the objectives that this command does not name")
    asked.add_argument("--dry-run", action="store_true", help="answer whether it fits, change nothing")


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
        return f"{fmt.plain(instance)}: SLO {would}removed"
    estimated = " (estimated from the host's default costs: no history yet)" if answer.get("estimated") else ""
    accepted = ", ".join(f"{metric} {fmt.objective_words(metric, keys)}" for metric, keys in answer["slo"].items())
    reserved = f"{answer['reserved_cpu_cores']:.2f} cores of CPU {would}reserved{estimated}"
    note = f"\nnote: {fmt.plain(answer['note'])}" if answer.get("note") else ""
    return f"{fmt.plain(instance)}: {accepted}; {reserved}; generation {answer['generation']}{note}"


def refusal(error: RequestRefused) -> str:
    """One line for a request that was refused: what is wrong, and what fits instead.

    Each value fits with the other floors as they were asked for. Floors of which no value fits are not named.
    """
    option = option_of(error.field)
    line = f"{option}: {error}" if option else str(error)
    if not error.largest:
        return line
    refused = error.field.partition(".")[0]
    fitting = {metric: fmt.show_at_most(value, metric) for metric, value in error.largest.items() if value > 0}
    if not fitting:
        return f"{line}; no {'floor' if len(error.largest) == 1 else 'combination of these floors'} fits now"
    if list(fitting) == [refused]:
        return f"{line}; largest that fits: {fitting[refused]}"
    return f"{line}; largest that fits: {' or '.join(f'{metric} {value}' for metric, value in fitting.items())}"
