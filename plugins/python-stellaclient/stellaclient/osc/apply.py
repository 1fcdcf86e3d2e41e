"""`openstack slo apply`: instances and their SLOs from a file."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient import units
from stellaclient.osc.columns import show_objective
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import is_uuid, pick, service
from stellaclient.osc.slo import LARGEST_PRIORITY
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Instance, Slo

_QUANTITIES = ("floor", "ceiling", "target")
_LARGEST_WEIGHT = 10_000
_DIRECTIONS = ("tx", "rx", "read", "write", "both")
_DEFAULT_UNIT_BYTES = {
    "network_packets": 64.0,
    "network_bytes": 64.0,
    "block_bytes": 65536.0,
    "block_operations": 16384.0,
}
_KEYS = (*_QUANTITIES, "weight", "priority", "direction", "unit")
Objectives = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the file wants of one instance, in base units."""

    objectives: Objectives
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the difference. ``wanted`` None: the SLO is withdrawn."""

    action: str
    instance: Instance
    before: Slo | None
    wanted: Wanted | None
    difference: str


def _mapping(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise CommandError(f"{where}: must be a mapping that is not empty")
    return {str(key): item for key, item in value.items()}


def objective(where: str, metric: str, value: object) -> dict[str, Any]:
    """An objective in base units. Raises `CommandError` that names the key."""
    if metric not in units.UNIT_OF:
        raise CommandError(f"{where}: no such metric (there are: {', '.join(units.UNIT_OF)})")
    keys = dict(_mapping(where, value))
    for key, given in keys.items():
        if key not in _KEYS:
            raise CommandError(f"{where}.{key}: unknown key (there are: {', '.join(_KEYS)})")
        if key in (*_QUANTITIES, "unit"):
            try:
                keys[key] = units.parse(given, "bytes" if key == "unit" else units.UNIT_OF[metric])
            except units.InvalidQuantity as error:
                raise CommandError(f"{where}.{key}: {error}") from None
    if "priority" in keys:
        _priority(f"{where}.priority", keys["priority"])
    weight = keys.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= _LARGEST_WEIGHT:
        raise CommandError(f"{where}.weight: must be a number above 0, at most {_LARGEST_WEIGHT}")
    if keys.get("direction", "both") not in _DIRECTIONS:
        raise CommandError(f"{where}.direction: must be one of {', '.join(_DIRECTIONS)}")
    return keys


def _priority(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_PRIORITY:
        raise CommandError(f"{where}: must be a whole number from 0 to {LARGEST_PRIORITY}")
    return value


def read(text: str) -> dict[str, Wanted]:
    """What a file wants, by name or uuid of the instance. Raises `CommandError` that names the key."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandError(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    top = _mapping("file", found)
    if set(top) != {"instances"}:
        raise CommandError("file: must have the one key instances")
    wanted = {}
    for name, value in _mapping("instances", top["instances"]).items():
        keys = _mapping(f"instances.{name}", value)
        if unknown := sorted(set(keys) - {"objectives", "priority"}):
            raise CommandError(f"instances.{name}.{unknown[0]}: unknown key (there are: objectives, priority)")
        where = f"instances.{name}.objectives"
        objectives = {m: objective(f"{where}.{m}", m, o) for m, o in _mapping(where, keys.get("objectives")).items()}
        wanted[name] = Wanted(
            objectives=objectives, priority=_priority(f"instances.{name}.priority", keys.get("priority", 0))
        )
    return wanted


def _canonical(objectives: Mapping[str, Mapping[str, Any]], priority: int) -> Objectives:
    """As the API shows it, without what is a default."""
    found = {}
    for metric, given in sorted(objectives.items()):
        keys = {"priority": priority, **{key: value for key, value in given.items() if value is not None}}
        if keys.get("direction") == "both":
            del keys["direction"]
        if keys.get("unit") == _DEFAULT_UNIT_BYTES.get(metric):
            keys.pop("unit", None)
        if not keys["priority"]:
            del keys["priority"]
        found[metric] = keys
    return found


def difference(before: Objectives, after: Objectives) -> str:
    """The objectives that differ, one a line."""
    lines = []
    for metric in sorted({*before, *after}):
        old, new = before.get(metric), after.get(metric)
        if old == new:
            continue
        lines += [f"- {metric}: {show_objective(metric, old)}"] if old else []
        lines += [f"+ {metric}: {show_objective(metric, new)}"] if new else []
    return "\n".join(lines)


def plan(stella: Proxy, wanted: Mapping[str, Wanted], *, prune: bool, project: str | None) -> list[Step]:
    """What is to be done, withdrawals first so that what they free can be used. Raises `CommandError`."""
    with one_line():
        visible = list(stella.instances(**({"project": project} if project else {})))
    by_uuid = {i.id: i for i in visible}
    steps, named = [], set()
    for name, terms in wanted.items():
        instance = by_uuid.get(name.lower()) if is_uuid(name) else pick(name, visible)
        if instance is None:
            raise CommandError(f"instances.{name}: no such instance")
        if instance.id in named:
            raise CommandError(f"instances.{name}: instance {instance.id} is in the file twice")
        named.add(instance.id)
        with one_line():
            before = stella.get_slo(instance.id)
        old = _canonical(before.added, 0) if before else {}
        change = difference(old, _canonical(terms.objectives, terms.priority))
        action = "create" if before is None else "change" if change else "keep"
        steps.append(Step(action=action, instance=instance, before=before, wanted=terms, difference=change))
    if not prune:
        return steps
    extra = [i for i in visible if i.slo_state is not None and i.id not in named]
    if len({i.project_id for i in extra} | {by_uuid[uuid].project_id for uuid in named}) > 1 and not project:
        raise CommandError("--prune would reach into more than one project; name one with --project")
    withdrawals = [withdrawal(stella, instance) for instance in extra]
    return [step for step in withdrawals if step.difference] + steps


def withdrawal(stella: Proxy, instance: Instance) -> Step:
    """The step that takes away what its user set; its difference is empty where that is nothing. Raises `CommandError`."""
    with one_line():
        before = stella.get_slo(instance.id)
    change = difference(_canonical(before.added, 0), {}) if before else ""
    return Step(action="remove", instance=instance, before=before, wanted=None, difference=change)


def carry_out(stella: Proxy, step: Step, *, dry_run: bool) -> str:
    """Do one step and tell what came of it. Raises `CommandError`."""
    generation = step.before.generation if step.before else None
    with one_line():
        if step.action == "keep":
            return f"unchanged ({step.before.state})" if step.before else "unchanged"
        if step.wanted is None:
            if not dry_run and generation is not None:
                stella.delete_slo(step.instance.id, generation)
            return "would be withdrawn" if dry_run else "withdrawn"
        slo = stella.put_slo(
            step.instance.id,
            step.wanted.objectives,
            priority=step.wanted.priority,
            generation=generation,
            dry_run=dry_run,
        )
    return "would be accepted" if dry_run else str(slo.state)


class Apply(command.Lister):
    """Bring the SLOs of instances to what a YAML file says, and show the difference.

    -f is the file; the format of the answer is --format.

    Example: openstack slo apply -f slos.yaml --dry-run
    """

    conflict_handler = (
        "resolve"  # -f is the file here, as it is elsewhere for declarative files; the format is --format
    )
    _failed = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "-f", "--file", metavar="<file>", required=True, help="YAML: instances, and the SLO of each"
        )
        parser.add_argument("--dry-run", action="store_true", help="Show the difference and what the API would say")
        parser.add_argument(
            "--prune", action="store_true", help="Withdraw the SLOs of instances that are not in the file"
        )
        parser.add_argument("--project", metavar="<id>", help="Only instances of this project (for operators)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Apply it. What fails does not keep the rest from being done."""
        try:
            text = Path(parsed_args.file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{parsed_args.file}: {getattr(error, 'strerror', None) or 'not text'}") from None
        wanted = read(text)
        stella = service(self)
        rows = []
        for step in plan(stella, wanted, prune=parsed_args.prune, project=parsed_args.project):
            try:
                result = carry_out(stella, step, dry_run=parsed_args.dry_run)
            except CommandError as error:
                self._failed += 1
                result = f"failed: {error}"
            rows.append((step.action, step.instance.name, step.instance.id, step.difference, result))
        return ("action", "name", "uuid", "difference", "result"), rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Print the difference; 1 when a part of it failed."""
        status = int(super().run(parsed_args) or 0)
        if self._failed:
            self.app.stderr.write(f"{self._failed} of the instances failed; see result\n")
        return 1 if self._failed else status
