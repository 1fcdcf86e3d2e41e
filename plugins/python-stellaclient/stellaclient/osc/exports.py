"""`openstack slo export` and `openstack slo import`: SLOs with the targets of their SLA classes, for other tools."""

import argparse
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient.export import openslo, prometheus, sloth
from stellaclient.export.guarantees import Guarantee, Terms
from stellaclient.osc import apply
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import service, uuid_of
from stellaclient.osc.slas import ratio, sla_of
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Instance

_FORMATS = ("openslo", "sloth", "prometheus")
_PROMETHEUS = "http://127.0.0.1:9090"
_BUDGETS_AT_ONCE = 1000
_DEFAULT_TARGET = "0.999"
"""For objectives under no SLA class: as in etc/prometheus/xgos.rules.yml."""


def _default_terms(target_ratio: str) -> Terms:
    return Terms(sla=None, target_ratio=Decimal(target_ratio), unknown_missed=True, time_zone="UTC")


class _Classes:
    """The terms of each instance: from one list of budgets, and by itself where the list does not have it."""

    def __init__(self, stella: Proxy, default: Terms, *, project: str | None, listed: bool) -> None:
        self._stella, self._default = stella, default
        self._zones = {sla.uuid: (sla.time_zone, sla.terms) for sla in stella.slas()}
        query = {"limit": _BUDGETS_AT_ONCE, "project": project} if project else {"limit": _BUDGETS_AT_ONCE}
        found = stella.budgets(**query) if listed and self._zones else []
        self._classes = {one["uuid"]: one["sla"] for one in found}

    def terms(self, uuid: str) -> Terms:
        """Those that count for this instance now. Raises `openstack.exceptions.HttpException`."""
        sla = self._classes.get(uuid)
        if sla is None and self._zones:
            budget = self._stella.get_budget(uuid)
            sla = budget["sla"] if budget else None
        if sla is None:
            return self._default
        zone, terms = self._zones[sla["uuid"]]
        return Terms(
            sla=sla["name"],
            target_ratio=Decimal(terms["attainment_target_ratio"]),
            unknown_missed=terms["unknown"] == "missed",
            time_zone=zone,
        )


def _guarantee(instance: Instance, terms: Terms) -> Guarantee:
    slo = instance.slo or {}
    objectives = slo.get("objectives") or {}
    return Guarantee(
        uuid=instance.id,
        name=instance.name or "",
        project=instance.project_id or "",
        terms=terms,
        objectives=objectives,
        added=slo.get("added_objectives", objectives),
    )


def _yaml(documents: Sequence[Mapping[str, Any]]) -> str:
    text: str = yaml.safe_dump_all(documents, sort_keys=False, width=1000, allow_unicode=True)
    return text


class Export(command.Command):
    """Print SLOs with the targets of their SLA classes: as OpenSLO, for Sloth, or as Prometheus rules.

    All that the user may see, or those of one server, project or class. SLOs that are not in force are left out.

    Example: openstack slo export --format openslo --sla gold > gold.yaml
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--format", choices=_FORMATS, default="openslo", help="What to print (openslo)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--server", metavar="<server>", help="Only this instance (name or uuid)")
        which.add_argument("--project", metavar="<id>", help="Only those of this project (for operators)")
        which.add_argument("--sla", metavar="<class>", help="Only those under this SLA class (name or uuid)")
        parser.add_argument(
            "--default-target",
            metavar="<share>",
            default=_DEFAULT_TARGET,
            help="Target of those under no SLA class (99.9%%); in OpenSLO and for Sloth alone",
        )
        parser.add_argument(
            "--prometheus-url",
            metavar="<url>",
            default=_PROMETHEUS,
            help=f"Where OpenSLO finds the metrics ({_PROMETHEUS})",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print them; what is left out is told on stderr."""
        default = _default_terms(ratio("--default-target", parsed_args.default_target))
        stella = service(self)
        with one_line():
            found = list(self._found(stella, parsed_args, default))
        kept = []
        for one in found:
            if one.terms.target_ratio >= 1:
                self._leave_out(one, "its target is 100%, so there is no budget that could burn")
            else:
                kept.append(one)
        if parsed_args.format == "openslo":
            text = _yaml(openslo.documents(kept, prometheus_url=parsed_args.prometheus_url))
        else:
            text = _yaml(sloth.documents(kept) if parsed_args.format == "sloth" else [prometheus.rules(kept)])
        self.app.stdout.write(text)

    def _found(self, stella: Proxy, given: argparse.Namespace, default: Terms) -> Iterator[Guarantee]:
        sla = sla_of(stella, given.sla).name if given.sla else None
        if given.server:
            instances = [stella.get_instance(uuid_of(stella, given.server))]
        else:
            instances = list(stella.instances(**({"project": given.project} if given.project else {})))
        classes = _Classes(stella, default, project=given.project, listed=not given.server)
        for instance in instances:
            if instance.slo_state is None:
                if given.server:
                    raise CommandError(f"instance {instance.name or instance.id} has no SLO in force")
                continue
            terms = classes.terms(instance.id)
            if sla is None or terms.sla == sla:
                yield _guarantee(instance, terms)

    def _leave_out(self, one: Guarantee, why: str) -> None:
        self.app.stderr.write(f"left out: {one.name or one.uuid}: {why}\n")


class Import(command.Lister):
    """Bring the SLOs of instances to what an OpenSLO file of `openstack slo export` says, and show the difference.

    Quantities may be changed in the file, and objectives added or dropped. Whatever else differs from what export writes is reported,
    one line each, and nothing is done. All instances are changed or none.

    Example: openstack slo import gold.yaml --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="<file>", help="OpenSLO v1, YAML")
        parser.add_argument("--dry-run", action="store_true", help="Show the difference and what the API would say")
        parser.add_argument(
            "--default-target",
            metavar="<share>",
            default=_DEFAULT_TARGET,
            help="What the file was exported with for those under no SLA class (99.9%%)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Import it. Raises `CommandError`; what is wrong stands on stderr before, one line each."""
        given = _documents(parsed_args.file)
        default = _default_terms(ratio("--default-target", parsed_args.default_target))
        stella = service(self)
        steps = self._steps(stella, given, default)
        told = self._each(steps, functools.partial(apply.carry_out, stella, dry_run=True))
        if not parsed_args.dry_run:
            told = self._all_or_none(stella, steps)
        rows = [
            (step.action, step.instance.name, step.instance.id, step.difference, result)
            for step, result in zip(steps, told, strict=True)
        ]
        return ("action", "name", "uuid", "difference", "result"), rows

    def _steps(self, stella: Proxy, given: Sequence[Any], default: Terms) -> list[apply.Step]:
        """What is to be done, withdrawals first."""
        read = openslo.read(given)
        problems = read.problems
        expected: list[Guarantee] = []
        wanted: dict[str, apply.Wanted] = {}
        none: list[Instance] = []
        with one_line():
            classes = _Classes(stella, default, project=None, listed=False)
            visible = {one.id: one for one in stella.instances()} if read.objectives else {}
            for uuid, asked in read.objectives.items():
                if uuid not in visible:
                    problems.append(f"Service instance-{uuid}: there is no such instance")
                    continue
                objectives, wrong = _checked(uuid, openslo.without_flavor(asked))
                problems += wrong
                now = _guarantee(visible[uuid], classes.terms(uuid))
                expected.append(_as_wanted(now, visible[uuid], objectives))
                if objectives:
                    wanted[uuid] = apply.Wanted(objectives=objectives, priority=0)
                else:
                    none.append(visible[uuid])
        if not problems:
            known = openslo.documents(expected, prometheus_url=_PROMETHEUS)
            problems = openslo.unsupported(given, known)
        if not problems and not expected:
            problems = ["it has no Service"]
        self._refuse(problems)
        withdrawals = [apply.withdrawal(stella, instance) for instance in none]
        changes = apply.plan(stella, wanted, prune=False, project=None)
        return [*(step for step in withdrawals if step.difference), *changes]

    def _refuse(self, problems: Sequence[str]) -> None:
        for line in problems:
            self.app.stderr.write(f"{line}\n")
        if problems:
            raise CommandError(f"{len(problems)} of these cannot be imported; nothing was changed")

    def _each(self, steps: Sequence[apply.Step], carry_out: Callable[[apply.Step], str]) -> list[str]:
        told: list[str] = []
        problems: list[str] = []
        for step in steps:
            try:
                told.append(carry_out(step))
            except CommandError as error:
                problems.append(f"{step.instance.name or step.instance.id}: {error}")
        self._refuse(problems)
        return told

    def _all_or_none(self, stella: Proxy, steps: Sequence[apply.Step]) -> list[str]:
        told: list[str] = []
        for step in steps:
            try:
                told.append(apply.carry_out(stella, step, dry_run=False))
            except CommandError as error:
                left = [text for done in reversed(steps[: len(told)]) if (text := _undo(stella, done))]
                failed = f"{step.instance.name or step.instance.id}: {error}"
                raise CommandError("; ".join([failed, *left] if left else [failed, "nothing was changed"])) from None
        return told


def _documents(file: str) -> list[Any]:
    try:
        return [one for one in yaml.safe_load_all(Path(file).read_text()) if one is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: {getattr(error, 'strerror', None) or 'not text'}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise CommandError(f"{file}: not YAML: {' '.join(str(error).split())[:200]}") from None


def _checked(uuid: str, asked: openslo.Objectives) -> tuple[openslo.Objectives, list[str]]:
    """The objectives in base units, with a priority each, and what is wrong with them."""
    found: openslo.Objectives = {}
    problems: list[str] = []
    for metric, keys in asked.items():
        try:
            read = apply.objective(
                f"{uuid}.{metric}", metric, {key: _number(key, value) for key, value in keys.items()}
            )
            found[metric] = {"priority": 0, **read}
        except CommandError as error:
            problems.append(str(error))
    return found, problems


def _number(key: str, value: Any) -> Any:
    """The annotation as what it is: annotations are text."""
    kind = {"priority": int, "weight": float}.get(key)
    try:
        return kind(value) if kind is not None and isinstance(value, str) else value
    except ValueError:
        return value


def _as_wanted(now: Guarantee, instance: Instance, objectives: openslo.Objectives) -> Guarantee:
    """The instance as it would be after the import."""
    sold = (instance.slo or {}).get("flavor_objectives") or {}
    in_force = {metric: {**sold.get(metric, {}), **objectives.get(metric, {})} for metric in {*sold, *objectives}}
    return Guarantee(
        uuid=now.uuid,
        name=now.name,
        project=now.project,
        terms=now.terms,
        objectives=in_force,
        added=objectives,
    )


def _undo(stella: Proxy, step: apply.Step) -> str | None:
    """Put back what was before a step; why not, where it cannot be."""
    if step.action == "keep":
        return None
    try:
        with one_line():
            now = stella.get_slo(step.instance.id)
            generation = now.generation if now else None
            before = step.before.added if step.before else {}
            if before and step.before:
                kept = {metric: {"priority": 0, **keys} for metric, keys in before.items()}
                stella.put_slo(step.instance.id, kept, priority=step.before.priority, generation=generation)
            elif generation is not None:
                stella.delete_slo(step.instance.id, generation)
    except CommandError as error:
        return f"{step.instance.name or step.instance.id} stays changed: {error}"
    return None
