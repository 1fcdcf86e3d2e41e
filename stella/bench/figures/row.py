"""Rows: one figure, what is required of it, and what each repeat gave. Pure; thresholds live beside the figures that they judge."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Facts = Mapping[str, Any]
"""What one part of a family found: plain JSON, kept so that it can be judged again without running it again."""

Found = float | Sequence[float | None] | str | None
Reader = TypeVar("Reader", bound=Callable[[Mapping[str, Any]], Found])
Comparison = TypeVar("Comparison", bound=Callable[[Mapping[str, Any], Mapping[str, Any]], float])

PASS, FALLS_SHORT, INVALID, REPORTED = "pass", "FALLS SHORT", "INVALID", "reported"
OUTSIDE, AGENT = "outside", "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What is required: at least, at most, both, or strictly more or less. Empty: the figure is only reported."""

    least: float | None = None
    most: float | None = None
    more_than: float | None = None
    less_than: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value keeps it."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.more_than is None or value > self.more_than)
            and (self.less_than is None or value < self.less_than)
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is required."""
        return self == Bound()

    def show(self, kind: str) -> str:
        """In words."""
        if self.least is not None and self.most is not None:
            return f"{show(self.least, kind)} to {show(self.most, kind)}"
        for word, value in ((">=", self.least), ("<=", self.most), (">", self.more_than), ("<", self.less_than)):
            if value is not None:
                return f"{word} {show(value, kind)}"
        return "reported"


def show(value: float | None, kind: str) -> str:
    """A value of a kind (``ratio``, ``seconds``, ``cores``, ``bytes``, ``factor``, ``count``) for people."""
    if value is None:
        return "never"
    match kind:
        case "ratio":
            return f"{value * 100:.4g} %" if value >= 0.9995 or value < 0.1 else f"{value * 100:.1f} %"
        case "seconds":
            return f"{value:.2f} s"
        case "cores":
            return f"{value * 100:.1f} % of a core"
        case "bytes":
            return f"{value / 2**20:.0f} MiB"
        case "factor":
            return f"{value:.2f} x"
    return f"{value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. ``values``: one for each repeat; None where the thing never came about (which never keeps a bound).

    ``bound`` is required of *every* repeat, ``aim`` is what is wanted. ``missing``: why there are too few values. ``source``:
    ``outside``, or ``agent`` where the figure rests on the agent's own word. ``note``: what else is worth knowing.
    """

    name: str
    title: str
    bound: Bound
    kind: str
    values: tuple[float | None, ...]
    aim: Bound = Bound()
    source: str = OUTSIDE
    missing: str = ""
    note: str = ""

    @property
    def status(self) -> str:
        """``pass`` when every repeat keeps the bound; a row without a valid run is ``INVALID``."""
        if self.missing or not self.values:
            return INVALID
        if self.bound.empty:
            return REPORTED
        return PASS if all(v is not None and self.bound.holds(v) for v in self.values) else FALLS_SHORT

    @property
    def figure(self) -> str:
        """The median and, in brackets, the spread over the repeats."""
        if not self.values:
            return "-"
        known = sorted(v for v in self.values if v is not None)
        if len(known) < len(self.values):
            never = len(self.values) - len(known)
            rest = f", else {show(known[0], self.kind)} to {show(known[-1], self.kind)}" if known else ""
            return f"never in {never} of {len(self.values)}{rest}"
        middle = show(statistics.median(known), self.kind)
        if len(known) == 1:
            return middle
        return f"{middle} [{show(known[0], self.kind)} to {show(known[-1], self.kind)}, n={len(known)}]"

    def line(self) -> str:
        """For the terminal."""
        why = f" ({self.missing})" if self.missing else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.status:<11}  {self.title}: {self.figure} (required: {self.bound.show(self.kind)}){why}{note}"

    def document(self) -> dict[str, Any]:
        """For figures.json."""
        return {
            "name": self.name,
            "title": self.title,
            "status": self.status,
            "figure": self.figure,
            "required": self.bound.show(self.kind),
            "aim": "" if self.aim.empty else self.aim.show(self.kind),
            "source": self.source,
            "values": list(self.values),
            "missing": self.missing,
            "note": self.note,
        }


def of_policy(parts: Mapping[str, Facts], policy: str) -> dict[str, Facts]:
    """What one policy did in each round. A round that does not count is ``invalid`` for all policies."""
    return {
        name: facts if "invalid" in facts else facts["policies"].get(policy, {"invalid": "not run"})
        for name, facts in parts.items()
    }


def row_of(
    parts: Mapping[str, Facts],
    policy: str,
    read: Callable[[Facts], Found],
    *,
    note: str | Callable[[Mapping[str, Facts]], str] = "",
    bound: Bound = Bound(),
    kind: str = "ratio",
    **keys: Any,
) -> Row:
    """A row over the rounds of one policy. ``read`` gives one value for a round, or several, or says why the round has none.

    ``note`` may be made from what the policy did in each round.
    """
    values: list[float | None] = []
    without: list[str] = []
    mine = of_policy(parts, policy)
    for part, facts in mine.items():
        found = facts["invalid"] if "invalid" in facts else read(facts)
        if isinstance(found, str):
            without.append(f"{part}: {found}")
        else:
            values += [found] if isinstance(found, float | int | None) else found
    missing = "; ".join(without) or ("" if mine else "not run")
    said = note if isinstance(note, str) else note(mine)
    return Row(bound=bound, kind=kind, values=tuple(values), missing=missing, note=said, **keys)


def _beside(parts: Mapping[str, Facts], other: str) -> dict[str, Facts]:
    """The facts of ``stella`` and of another policy side by side, as those of one policy; a round must have both."""
    ours, theirs = of_policy(parts, "stella"), of_policy(parts, other)
    why = {part: ours[part].get("invalid") or theirs[part].get("invalid") for part in parts}
    return {
        part: {"invalid": why[part]}
        if why[part]
        else {"policies": {"both": {"ours": ours[part], "theirs": theirs[part]}}}
        for part in parts
    }


class Figures:
    """The figures of a family, in the order in which they are declared: each by what reads it from the facts of a policy's round.

    Called with the facts of all parts it makes their rows. ``policy``: whose figures they are, unless they are of several. Pure.
    """

    def __init__(self, policy: str = "stella") -> None:
        self._policy = policy
        self._makers: list[Callable[[Mapping[str, Facts]], Row]] = []

    def __call__(self, parts: Mapping[str, Facts]) -> list[Row]:
        """The rows."""
        return [make(parts) for make in self._makers]

    def of(self, name: str, title: str, bound: Bound = Bound(), **keys: Any) -> Callable[[Reader], Reader]:
        """Declares a figure, with the keys of `row_of`."""

        def declare(read: Reader) -> Reader:
            found: dict[str, Any] = {"policy": self._policy, "name": name, "title": title, "bound": bound, **keys}
            self._makers.append(lambda parts: row_of(parts, read=read, **found))
            return read

        return declare

    def of_each(
        self, policies: Sequence[str], name: str, title: str, *, others: Mapping[str, Bound] | None = None, **keys: Any
    ) -> Callable[[Reader], Reader]:
        """Declares the same figure of each policy, a row for each.

        What ``bound`` and ``aim`` say is of ``stella``; ``others``: what is required of others.
        """

        def declare(read: Reader) -> Reader:
            for policy in policies:
                own = {"bound": (others or {}).get(policy, Bound()), "aim": Bound()} if policy != "stella" else {}
                self.of(f"{name}.{policy}", f"{title}: {policy}", **{**keys, **own, "policy": policy})(read)
            return read

        return declare

    def against(self, other: str, name: str, title: str, **keys: Any) -> Callable[[Comparison], Comparison]:
        """Declares a comparison of ``stella`` with another policy, from the facts of both, with the keys of `row_of`."""

        def declare(compare: Comparison) -> Comparison:
            def read(both: Facts) -> float:
                return compare(both["ours"], both["theirs"])

            self._makers.append(
                lambda parts: row_of(_beside(parts, other), "both", read, name=name, title=title, **keys)
            )
            return compare

        return declare


def windows_met(facts: Facts) -> float:
    """The part of windows in which every objective that was asked for was met (at 95 %). Pure."""
    return float(facts["result"]["all_met_95_ratio"])
