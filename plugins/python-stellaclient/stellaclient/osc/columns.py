"""Values that are human in tables and exact everywhere else."""

from collections.abc import Mapping, Sequence
from typing import Any

from cliff.columns import FormattableColumn

from stellaclient import units

_QUANTITIES = ("floor", "ceiling", "target")
_VICTIMS_SHOWN = 3


def show_objective(metric: str, objective: Mapping[str, Any]) -> str:
    """``floor 20kpps tx, priority 5``."""
    parts = [f"{key} {units.show_metric(metric, objective[key])}" for key in _QUANTITIES if key in objective]
    if "direction" in objective:
        parts[-1:] = [f"{parts[-1]} {objective['direction']}"] if parts else [str(objective["direction"])]
    parts += [f"{key} {objective[key]:g}" for key in ("weight", "priority") if key in objective]
    if "unit" in objective:
        parts.append(f"unit {units.show(objective['unit'], 'bytes')}")
    return ", ".join(parts)


class Objectives(FormattableColumn[Mapping[str, Any]]):
    """Objectives of an SLO, one a line."""

    def human_readable(self) -> str:
        """For a table."""
        return "\n".join(f"{metric}: {show_objective(metric, keys)}" for metric, keys in (self._value or {}).items())


class Statuses(FormattableColumn[Sequence[Mapping[str, Any]]]):
    """Statuses of objectives, one a line."""

    def human_readable(self) -> str:
        """For a table."""
        return "\n".join(
            f"{o['metric']} {o['status']}" + (f" ({o['cause']})" if o.get("cause") else "") for o in self._value or ()
        )


class Kept(FormattableColumn[Sequence[Mapping[str, Any]]]):
    """Objectives with what is guaranteed of each, one a line: ``network_packets 9kpps of 20kpps VIOLATED (cpu)``."""

    def human_readable(self) -> str:
        """For a table."""
        return "\n".join(_show_kept(one) for one in self._value or ()) or "-"


def _show_kept(one: Mapping[str, Any]) -> str:
    metric = one["metric"]
    amounts = [units.show_metric(metric, one[key]) for key in ("usage", "guaranteed")]
    return f"{metric} {' of '.join(amounts)} {one['status']}" + (f" ({one['cause']})" if one["cause"] else "")


class Offences(FormattableColumn[Mapping[str, Any] | None]):
    """What an offender did within the last hour, in a line."""

    def human_readable(self) -> str:
        """For a table."""
        v = self._value
        if not v or not v["violations"]:
            return "-"
        whose = ", ".join(victim["name"] or victim["uuid"] for victim in v["victims"][:_VICTIMS_SHOWN])
        more = len(v["victims"]) - _VICTIMS_SHOWN
        whose += f" and {more} more" if more > 0 else ""
        last = f", {v['lasting']} still lasting" if v["lasting"] else ""
        return f"{v['violations']} violations{last}, {v['missed_seconds']:g} s missed by {whose}"


class Limits(FormattableColumn[Sequence[Mapping[str, Any]]]):
    """Limits from outside Stella, one a line."""

    def human_readable(self) -> str:
        """For a table."""
        return "\n".join(_show_limit(one) for one in self._value or ()) or "-"


def _show_limit(limit: Mapping[str, Any]) -> str:
    """``bandwidth_limit 12.5MB/s tx on port 4f1c``."""
    way = "" if limit["direction"] == "both" else f" {limit['direction']}"
    where = f" on {limit['device']}" if limit["device"] else ""
    kind = " at least" if limit["is_floor"] else ""
    return f"{limit['name']}{kind} {units.show_metric(limit['metric'], limit['value'])}{way}{where}"


class Contradictions(FormattableColumn[Sequence[Mapping[str, Any]]]):
    """Floors above a limit, one a line."""

    def human_readable(self) -> str:
        """For a table."""
        return "\n".join(str(one["message"]) for one in self._value or ()) or "-"


class ByMetric(FormattableColumn[Mapping[str, float]]):
    """Quantities by metric, one a line."""

    def human_readable(self) -> str:
        """For a table."""
        return "\n".join(
            f"{metric} {units.show_metric(metric, value)}" for metric, value in (self._value or {}).items()
        )


class Cores(FormattableColumn[float | None]):
    """CPU in cores."""

    def human_readable(self) -> str:
        """For a table."""
        return "-" if self._value is None else f"{self._value:.4g} cores"


class Ratio(FormattableColumn[float | None]):
    """A share, as percent for people."""

    def human_readable(self) -> str:
        """For a table."""
        return "-" if self._value is None else f"{self._value * 100:.2f}%"


class Attained(FormattableColumn[Mapping[str, Any] | None]):
    """Attainment over a span, an objective a line; None where the API does not tell."""

    def human_readable(self) -> str:
        """For a table."""
        objectives = (self._value or {}).get("objectives") or ()
        return "\n".join(f"{o['metric']} {Ratio(o['attainment_ratio']).human_readable()}" for o in objectives) or "-"


class Episode(FormattableColumn[Mapping[str, Any] | None]):
    """A violation in a line."""

    def human_readable(self) -> str:
        """For a table."""
        if not self._value:
            return "-"
        v = self._value
        ended = f"until {v['closed_at']}" if v["closed_at"] else "still lasting"
        return f"{v['metric']}: cause {v['cause'] or 'unknown'}, from {v['opened_at']}, {ended}"


class Amount(FormattableColumn[Any]):
    """A quantity of a metric; the value is the pair of both."""

    def human_readable(self) -> str:
        """For a table."""
        return units.show_metric(*self._value)

    def machine_readable(self) -> Any:
        """The number in its base unit, or None."""
        return self._value[1]


class Keys(FormattableColumn[Mapping[str, Any]]):
    """A mapping, one key a line."""

    def human_readable(self) -> str:
        """For a table."""
        return "\n".join(f"{key}: {value}" for key, value in (self._value or {}).items())


class Minutes(FormattableColumn[int | None]):
    """Seconds, as minutes for people."""

    def human_readable(self) -> str:
        """For a table."""
        return "-" if self._value is None else f"{self._value / 60:.1f} min"


class Percent(FormattableColumn[str | None]):
    """A ratio in decimal text, as percent for people: cut off, never rounded up."""

    def human_readable(self) -> str:
        """For a table."""
        if self._value is None:
            return "-"
        whole, _, part = self._value.partition(".")
        digits = part.ljust(2, "0")
        shown = f"{whole}{digits[:2]}".lstrip("0") or "0"
        rest = digits[2:].rstrip("0")
        return f"{shown}.{rest}%" if rest else f"{shown}%"


class Credits(FormattableColumn[list[dict[str, str]]]):
    """The credit table of an SLA class."""

    def human_readable(self) -> str:
        """For a table."""
        shown = [
            [Percent(step[name]).human_readable() for name in ("below_ratio", "credit_ratio")] for step in self._value
        ]
        return "\n".join(f"below {below}: {credit}" for below, credit in shown) or "-"


class Rates(FormattableColumn[Mapping[str, float | None]]):
    """Burn rates by span, in a line."""

    def human_readable(self) -> str:
        """For a table."""
        return ", ".join(f"{span} {rate:g}x" for span, rate in self._value.items() if rate is not None) or "-"


class Money(FormattableColumn[Any]):
    """A credit; the value is amount and currency, None without a price."""

    def human_readable(self) -> str:
        """For a table."""
        amount, currency = self._value
        return "-" if amount is None else f"{amount} {currency}"

    def machine_readable(self) -> Any:
        """The amount as decimal text."""
        return self._value[0]
