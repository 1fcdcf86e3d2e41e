"""The terms of an SLA class: what is promised, and what is owed when it is missed."""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from stella.sla.exact import PPM, parse_amount, parse_ratio, share_of, show_ratio

LARGEST_CREDITS = 20
_CURRENCY = re.compile(r"^[A-Z]{3}$")


class Unknown(enum.StrEnum):
    """What becomes of seconds of which nothing is known."""

    MISSED = "missed"
    IGNORED = "ignored"


class InvalidTerms(ValueError):
    """Terms that cannot be: ``field`` names the key, the message is one line for a person."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Below ``below_ppm`` attainment ``credit_ppm`` of the price is owed, both in parts per million."""

    below_ppm: int
    credit_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an instance costs in a period. ``currency`` is its ISO 4217 code."""

    amount: Decimal
    currency: str

    def credit(self, credit_ppm: int) -> Decimal:
        """That share of it."""
        return share_of(self.amount, credit_ppm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``target_ppm`` of the seconds with demand are to be met. ``credits``: the least grave first.

    Without ``price`` a credit is a share alone.
    """

    target_ppm: int
    unknown: Unknown = Unknown.MISSED
    credits: tuple[Credit, ...] = ()
    price: Price | None = None

    def credit_ppm(self, met: int, with_demand: int) -> int:
        """What is owed when so many of the seconds with demand were met: that of the gravest step that applies."""
        owed = [credit.credit_ppm for credit in self.credits if met * PPM < credit.below_ppm * with_demand]
        return max(owed, default=0)


def _ratio(field: str, value: object, *, least: int = 0) -> int:
    try:
        found = parse_ratio(value)
    except ValueError as error:
        raise InvalidTerms(field, str(error)) from None
    if found < least:
        raise InvalidTerms(field, "must be more than 0")
    return found


def _credits(given: Sequence[Mapping[str, Any]], target_ppm: int) -> tuple[Credit, ...]:
    if len(given) > LARGEST_CREDITS:
        raise InvalidTerms("credits", f"has {len(given)} steps; at most {LARGEST_CREDITS} are taken")
    found: list[Credit] = []
    for number, step in enumerate(given):
        field = f"credits[{number}]"
        below = _ratio(f"{field}.below_ratio", step["below_ratio"], least=1)
        credit = _ratio(f"{field}.credit_ratio", step["credit_ratio"], least=1)
        if below > (found[-1].below_ppm - 1 if found else target_ppm):
            what = "must be below that of the step before" if found else "must be the attainment target, or less"
            raise InvalidTerms(f"{field}.below_ratio", what)
        if found and credit <= found[-1].credit_ppm:
            raise InvalidTerms(f"{field}.credit_ratio", "must be above that of the step before")
        found.append(Credit(below_ppm=below, credit_ppm=credit))
    return tuple(found)


def _price(given: Mapping[str, Any] | None) -> Price | None:
    if given is None:
        return None
    try:
        amount = parse_amount(given["amount"])
    except ValueError as error:
        raise InvalidTerms("price.amount", str(error)) from None
    if not _CURRENCY.fullmatch(str(given["currency"])):
        raise InvalidTerms("price.currency", "must be the three letters of a currency, such as EUR")
    return Price(amount=amount, currency=given["currency"])


def parse(given: Mapping[str, Any]) -> Terms:
    """The terms of a mapping with the right keys (`show` prints it). Raises `InvalidTerms`."""
    target = _ratio("attainment_target_ratio", given["attainment_target_ratio"], least=1)
    try:
        unknown = Unknown(given.get("unknown", Unknown.MISSED))
    except ValueError:
        raise InvalidTerms("unknown", f"must be one of {', '.join(Unknown)}") from None
    return Terms(
        target_ppm=target,
        unknown=unknown,
        credits=_credits(given.get("credits", ()), target),
        price=_price(given.get("price")),
    )


def show(terms: Terms) -> dict[str, Any]:
    """The mapping that `parse` reads; ratios and amounts are decimal text."""
    price = terms.price
    return {
        "attainment_target_ratio": show_ratio(terms.target_ppm),
        "unknown": terms.unknown.value,
        "credits": [
            {"below_ratio": show_ratio(credit.below_ppm), "credit_ratio": show_ratio(credit.credit_ppm)}
            for credit in terms.credits
        ],
        "price": {"amount": str(price.amount), "currency": price.currency} if price is not None else None,
    }
