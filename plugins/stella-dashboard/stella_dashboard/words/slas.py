"""SLAs in words: shares, minutes of a budget, burn rates, money, and what a class allows and offers.

Ratios and amounts of money come as decimal text and stay exact: the point is moved, nothing is rounded.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from stellaclient import units

from stella_dashboard.words import names, quantities

DASH = "\N{EN DASH}"
_NO_BREAK = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_IN_SECONDS = 120

SPANS = {
    "5m": gettext_lazy("5 minutes"),
    "1h": gettext_lazy("1 hour"),
    "6h": gettext_lazy("6 hours"),
    "3d": gettext_lazy("3 days"),
}
"""Over which the burn rate is told."""
UNKNOWN = {
    "missed": gettext_lazy("Count as missed, against the provider"),
    "ignored": gettext_lazy("Do not count"),
}
SCOPES = {
    "instance": gettext_lazy("Instance"),
    "flavor": gettext_lazy("Flavor"),
    "project": gettext_lazy("Project"),
    "host": gettext_lazy("Host"),
    "all": gettext_lazy("All instances"),
}
KINDS = {
    "maintenance": pgettext_lazy("why a window does not count", "Maintenance"),
    "tenant": gettext_lazy("The tenant's own doing"),
}
COUNTED = {word.lower(): name for word, name in names.STATUSES.items() if word != "PENDING"}
"""What seconds may count as."""

_PART_OF = {"vcpu": "per_vcpu", "GiB": "per_disk_gib", "": "base"}
_PER = {"base": "", "per_vcpu": "/vcpu", "per_disk_gib": "/GiB"}
_CURRENCY = re.compile(r"([0-9]+(?:\.[0-9]{1,4})?)\s*([A-Za-z]{3})")


def percent(ratio: str | None) -> str:
    """``99.9085 %`` of ``0.999085``; a dash where there is none."""
    if ratio is None:
        return DASH
    return f"{_plain(Decimal(ratio) * 100)}{_NO_BREAK}%"


def parse_percent(text: str) -> str:
    """Decimal text of ``99.9 %``; the sign must be there, for 1 may be meant as all or as a hundredth.

    Raises `ValueError` with a sentence.
    """
    try:
        value = Decimal(text.strip().removesuffix("%").strip()) / 100
        if not text.strip().endswith("%") or not 0 < value <= 1 or value != value.quantize(Decimal("0.000001")):
            raise InvalidOperation
    except InvalidOperation:
        raise ValueError(
            _("Enter a share above zero in percent, such as 99.9 %%, with at most four decimals.") % {}
        ) from None
    return _plain(value)


def _plain(value: Decimal) -> str:
    shown = format(value, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def minutes(seconds: int | None) -> str:
    """Whole seconds as minutes with one decimal, below two minutes as seconds. Cut off: never more is left than there is."""
    if seconds is None:
        return DASH
    sign = _MINUS if seconds < 0 else ""
    if abs(seconds) < _IN_SECONDS:
        return _("%(n)s s") % {"n": f"{sign}{abs(seconds)}"}
    tenths = abs(seconds) * 10 // 60 if seconds >= 0 else -(seconds * 10 // 60)
    return _("%(n)s min") % {"n": sign + f"{tenths // 10}.{tenths % 10}".removesuffix(".0")}


def burn_rate(rate: float | None) -> str:
    """``14.4``: how many times faster than evenly; a dash without demand."""
    return DASH if rate is None else f"{float(f'{rate:.3g}'):g}\N{MULTIPLICATION SIGN}"


def money(amount: str | None, currency: str | None) -> str:
    """``4.99 EUR``; empty where there is no price."""
    return "" if amount is None else f"{amount}{_NO_BREAK}{currency or ''}".strip()


def owed(ratio: str, amount: str | None, currency: str | None) -> str:
    """``10 %: 4.99 EUR``."""
    return ": ".join(part for part in (percent(ratio), money(amount, currency)) if part)


def parse_money(text: str) -> tuple[str, str] | None:
    """Amount and currency of ``49.90 EUR``; None of nothing. Raises `ValueError` with a sentence."""
    if not text.strip():
        return None
    found = _CURRENCY.fullmatch(text.strip())
    if found is None:
        raise ValueError(_("Enter an amount with the three letters of its currency, such as 49.90 EUR."))
    return found[1], found[2].upper()


def amount(metric: str, told: Mapping[str, Any] | None) -> str:
    """``1 kpps + 5 kpps/vcpu``: what is the same for all, and what grows with the size; empty of none."""
    return " + ".join(
        f"{quantities.show(metric, told[part])}{per}" for part, per in _PER.items() if told and part in told
    )


def parse_amount(metric: str, text: str) -> dict[str, float] | None:
    """By part, in base units; None of nothing. Raises `ValueError` with a sentence."""
    found: dict[str, float] = {}
    for part in text.replace(_NO_BREAK, " ").split("+") if text.strip() else ():
        quantity, _slash, per = part.strip().rpartition("/")
        if per not in ("vcpu", "GiB") or not quantity:  # the slash is that of a rate
            quantity, per = part.strip(), ""
        try:
            found[_PART_OF[per]] = units.parse(quantity.strip(), quantities.UNIT_OF[metric])
        except units.InvalidQuantity:
            example = quantities.EXAMPLES[metric]
            raise ValueError(
                _("Enter a quantity such as %(example)s, or one that grows with the size: %(larger)s.")
                % {"example": example, "larger": f"{example} + {example}/vcpu"}
            ) from None
    return found or None


def offer(metric: str, told: Mapping[str, Any]) -> str:
    """What a class says of a metric, in a line."""
    limit, default = amount(metric, told.get("limit")), amount(metric, told.get("default"))
    parts = [names.of(names.METRICS, metric)]
    if limit:
        most = _("at least %(quantity)s") if metric == "block_latency" else _("at most %(quantity)s")
        parts.append(most % {"quantity": limit})
    if default:
        parts.append(_("offers %(quantity)s") % {"quantity": default})
    return f"{parts[0]}: {', '.join(parts[1:])}" if parts[1:] else f"{parts[0]}: " + _("without limit")


def reached(scope: str, target: str | None) -> str:
    """What an exclusion or an attachment is about: ``Host compute-1``."""
    return " ".join(part for part in (names.of(SCOPES, scope), target or "") if part)
