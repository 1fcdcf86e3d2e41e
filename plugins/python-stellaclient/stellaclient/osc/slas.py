"""`openstack slo sla`: classes of SLAs, and what they are attached to."""

import argparse
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from openstack import exceptions
from osc_lib.command import command
from osc_lib.exceptions import CommandError

from stellaclient import units
from stellaclient.osc.columns import Credits, Keys, Money, Percent
from stellaclient.osc.errors import one_line
from stellaclient.osc.service import is_uuid, service, uuid_of
from stellaclient.sdk.proxy import Proxy
from stellaclient.sdk.resources import Sla

_PRICE = re.compile(r"([0-9.]+)\s*([A-Z]{3})")
_PER = {"vcpu": "per_vcpu", "GiB": "per_disk_gib", "": "base"}
_COLUMNS = (
    "uuid",
    "name",
    "time_zone",
    "target",
    "unknown",
    "credits",
    "price",
    "objectives",
    "failover",
    "next_terms",
)


def sla_of(stella: Proxy, given: str) -> Sla:
    """The class of this name or uuid. Raises `CommandError`."""
    if is_uuid(given):
        return stella.get_sla(given.lower())
    found = list(stella.slas(name=given)) if re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", given) else []
    if not found:
        raise CommandError(f"no SLA class is named {given[:64]!r}; `openstack slo sla list` lists all")
    return found[0]


def ratio(option: str, text: str) -> str:
    """The decimal text of ``99.9%`` or ``0.999``. Raises `CommandError`."""
    try:
        value = Decimal(text.strip().removesuffix("%"))
        value = value / 100 if text.strip().endswith("%") else value
        if not 0 <= value <= 1 or not value.is_finite():
            raise InvalidOperation
    except InvalidOperation:
        raise CommandError(f"{option}: {text[:40]!r} is not a share, such as 99.9% or 0.999") from None
    shown = format(value, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _credit(text: str) -> dict[str, str]:
    below, colon, credit = text.partition(":")
    if not colon:
        raise CommandError(f"--credit: {text[:40]!r} is not BELOW:CREDIT, such as 99.9%:10%")
    return {"below_ratio": ratio("--credit", below), "credit_ratio": ratio("--credit", credit)}


def _price(text: str) -> dict[str, str] | None:
    if text == "none":
        return None
    found = _PRICE.fullmatch(text.strip())
    if not found:
        raise CommandError(f"--price: {text[:40]!r} is not an amount with a currency, such as 49.90EUR; or none")
    return {"amount": found[1], "currency": found[2]}


def _amount(option: str, metric: str, text: str) -> dict[str, float]:
    """``1kpps+5kpps/vcpu`` in base units. Raises `CommandError`."""
    unit = units.UNIT_OF.get(metric)
    if unit is None:
        raise CommandError(f"{option}: there is no metric {metric[:40]!r} (there are: {', '.join(units.UNIT_OF)})")
    found: dict[str, float] = {}
    for part in text.split("+"):
        per = next((name for name in ("vcpu", "GiB") if part.strip().endswith(f"/{name}")), "")
        try:
            found[_PER[per]] = units.parse(part.strip().removesuffix(f"/{per}") if per else part.strip(), unit)
        except units.InvalidQuantity as error:
            raise CommandError(f"{option}: {error}; /vcpu and /GiB make it grow with the size") from None
    return found


def _objectives(given: argparse.Namespace, before: Mapping[str, Any]) -> dict[str, Any]:
    found = {metric: dict(keys) for metric, keys in before.items()}
    for metric in given.objective:
        found.setdefault(metric, {})
    for key in ("limit", "default"):
        for text in getattr(given, key):
            metric, equals, amount = text.partition("=")
            if not equals:
                raise CommandError(f"--{key}: {text[:40]!r} is not METRIC=QUANTITY, such as network_packets=5kpps/vcpu")
            found.setdefault(metric, {})[key] = _amount(f"--{key}", metric, amount)
    return found


def _terms(given: argparse.Namespace, before: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(before)
    if given.target is not None:
        found["attainment_target_ratio"] = ratio("--target", given.target)
    if given.unknown is not None:
        found["unknown"] = given.unknown
    if given.credit:
        found["credits"] = [_credit(text) for text in given.credit if text != "none"]
    if given.price is not None:
        found["price"] = _price(given.price)
    return found


def _add_terms(parser: argparse.ArgumentParser, *, target: bool) -> None:
    parser.add_argument("--target", metavar="<share>", required=target, help="Attainment target, such as 99.9%%")
    parser.add_argument("--unknown", choices=("missed", "ignored"), help="What unknown seconds count as (missed)")
    parser.add_argument(
        "--credit",
        metavar="<below>:<credit>",
        action="append",
        default=[],
        help="Below which attainment which share of the price is owed, such as 99.9%%:10%%; the least grave first; none: no credit",
    )
    parser.add_argument(
        "--price", metavar="<amount>", help="Of an instance in a month, such as 49.90EUR; none: no price"
    )
    parser.add_argument(
        "--objective",
        metavar="<metric>",
        action="append",
        default=[],
        help="An SLO may have this metric, without limit",
    )
    parser.add_argument(
        "--limit",
        metavar="<metric>=<quantity>",
        action="append",
        default=[],
        help="The largest floor, such as network_packets=1kpps+5kpps/vcpu or block_bytes=1MB/s/GiB",
    )
    parser.add_argument(
        "--default", metavar="<metric>=<quantity>", action="append", default=[], help="The floor that is offered"
    )
    parser.add_argument(
        "--failover",
        action=argparse.BooleanOptionalAction,
        help="SLOs survive the loss of any one host: another one keeps a place for each",
    )


def _amount_text(metric: str, amount: Mapping[str, float]) -> str:
    suffix = {part: f"/{per}" if per else "" for per, part in _PER.items()}
    return "+".join(f"{units.show_metric(metric, value)}{suffix[part]}" for part, value in amount.items())


def _row(sla: Sla) -> tuple[Any, ...]:
    terms = sla.terms
    price = terms["price"] or {"amount": None, "currency": None}
    objectives = {
        metric: ", ".join(f"{key} {_amount_text(metric, keys[key])}" for key in ("limit", "default") if keys.get(key))
        or "any"
        for metric, keys in (sla.objectives or {}).items()
    }
    following = f"from {sla.next_terms_from}: {sla.next_terms['attainment_target_ratio']}" if sla.next_terms else "-"
    return (
        sla.uuid,
        sla.name,
        sla.time_zone,
        Percent(terms["attainment_target_ratio"]),
        terms["unknown"],
        Credits(terms["credits"]),
        Money((price["amount"], price["currency"])),
        Keys(objectives),
        sla.failover,
        following,
    )


class Create(command.ShowOne):
    """Create an SLA class (for administrators).

    Example: openstack slo sla create gold --target 99.9% --time-zone Asia/Seoul --credit 99.9%:10% --credit 99%:25% --price 49.90EUR
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="<name>", help="Name of the class")
        parser.add_argument("--time-zone", metavar="<zone>", default="UTC", help="Whose months are the periods (UTC)")
        _add_terms(parser, target=True)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Create it."""
        body = {
            "name": parsed_args.name,
            "time_zone": parsed_args.time_zone,
            "terms": _terms(parsed_args, {}),
            "objectives": _objectives(parsed_args, {}),
            "failover": bool(parsed_args.failover),
        }
        stella = service(self)
        with one_line():
            return _COLUMNS, _row(stella.create_sla(body))


class List(command.Lister):
    """List SLA classes.

    Example: openstack slo sla list --withdrawn
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--withdrawn", action="store_true", help="Also those of the past, whose reports are found by their uuid"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """List them."""
        stella = service(self)
        with one_line():
            if not parsed_args.withdrawn:
                return _COLUMNS, [_row(sla) for sla in stella.slas()]
            found = stella.slas(withdrawn="true")
            return (*_COLUMNS, "withdrawn_at"), [(*_row(sla), sla.withdrawn_at or "-") for sla in found]


class Show(command.ShowOne):
    """Show an SLA class, and to operators what it is attached to.

    Example: openstack slo sla show gold
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("sla", metavar="<class>", help="Name or uuid of an SLA class")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Show it."""
        stella = service(self)
        with one_line():
            sla = sla_of(stella, parsed_args.sla)
            try:
                attached = [f"{one.scope} {one.target}" for one in stella.sla_attachments(sla.uuid)]
            except exceptions.ForbiddenException:
                attached = ["for operators"]
        return (*_COLUMNS, "attached_to"), (*_row(sla), "\n".join(attached) or "-")


class Set(command.Command):
    """Change an SLA class, attach it, detach it (for administrators). New terms count from the next month on.

    Of the classes that reach an instance its own counts, else that of its flavor, else that of its project.

    Example: openstack slo sla set gold --attach-project 4d1c0a --attach-server web-1 --detach-flavor large
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("sla", metavar="<class>", help="Name or uuid of an SLA class")
        parser.add_argument("--name", metavar="<name>", help="A new name")
        _add_terms(parser, target=False)
        parser.add_argument("--any-objective", action="store_true", help="An SLO may have every metric, without limit")
        for verb in ("attach", "detach"):
            for scope, what in (("server", "name-or-uuid"), ("flavor", "name"), ("project", "id")):
                text = f"{verb.capitalize()} it {'to' if verb == 'attach' else 'from'} this {scope}"
                parser.add_argument(f"--{verb}-{scope}", metavar=f"<{what}>", action="append", default=[], help=text)
        parser.add_argument("--replace", action="store_true", help="Attach also where another class is attached")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Change it."""
        stella = service(self)
        with one_line():
            sla = sla_of(stella, parsed_args.sla)
        body = self._changes(parsed_args, sla)
        targets = {verb: self._targets(stella, parsed_args, verb) for verb in ("attach", "detach")}
        if not body and not any(targets.values()):
            raise CommandError("name what is to change, or what it is to be attached to or detached from")
        with one_line():
            if body:
                stella.update_sla(sla.uuid, body, generation=sla.generation)
            attached = (
                {(one.scope, one.target): one.id for one in stella.sla_attachments(sla.uuid)}
                if targets["detach"]
                else {}
            )
            for scope, target in targets["detach"]:
                if (scope, target) not in attached:
                    raise CommandError(f"it is not attached to {scope} {target}")
                stella.detach_sla(sla.uuid, int(attached[scope, target]))
            for scope, target in targets["attach"]:
                stella.attach_sla(sla.uuid, scope, target, replace=parsed_args.replace)

    @staticmethod
    def _changes(given: argparse.Namespace, sla: Sla) -> dict[str, Any]:
        body: dict[str, Any] = {"name": given.name} if given.name else {}
        if given.target is not None or given.unknown is not None or given.credit or given.price is not None:
            body["terms"] = _terms(given, sla.next_terms or sla.terms)
        if given.objective or given.limit or given.default or given.any_objective:
            body["objectives"] = _objectives(given, {} if given.any_objective else sla.objectives)
        if given.failover is not None:
            body["failover"] = given.failover
        return body

    @staticmethod
    def _targets(stella: Proxy, given: argparse.Namespace, verb: str) -> Sequence[tuple[str, str]]:
        found = [("instance", uuid_of(stella, name)) for name in getattr(given, f"{verb}_server")]
        for scope in ("flavor", "project"):
            found += [(scope, name) for name in getattr(given, f"{verb}_{scope}")]
        return found


class Delete(command.Command):
    """Withdraw an SLA class (for administrators). Its reports stay.

    Example: openstack slo sla delete gold --detach
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("sla", metavar="<class>", help="Name or uuid of an SLA class")
        parser.add_argument("--detach", action="store_true", help="Also where it is attached")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Withdraw it."""
        stella = service(self)
        with one_line():
            stella.delete_sla(sla_of(stella, parsed_args.sla).uuid, detach=parsed_args.detach)
