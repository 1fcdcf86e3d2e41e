"""A report computed again from what it rests on, without a database: what differs from what it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stella.sla import report as reports
from stella.sla.exact import canonical, digest


class InvalidReport(ValueError):
    """This is no report; the message is one line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """``totals`` as computed here; ``differences`` names what the report says otherwise, none where all is the same bit for bit."""

    totals: Mapping[str, Any]
    differences: tuple[str, ...]


def recompute(report: object) -> Recomputed:
    """Compute it again. Raises `InvalidReport`."""
    if not isinstance(report, dict) or report.get("format") != reports.FORMAT:
        raise InvalidReport(f"format: is not {reports.FORMAT}")
    try:
        told = dict(report)
        sha256 = told.pop("sha256")
        found = reports.compute(told)
        differences = (
            [] if digest(told) == sha256 else [f"sha256: the report says {str(sha256)[:64]}, it is {digest(told)}"]
        )
        computed = {result["uuid"]: result for result in found["results"]}
        said = {result["uuid"]: result for result in told["results"]}
        differences += [
            f"results of {uuid}: the report says {_short(said.get(uuid))}, it is {_short(computed.get(uuid))}"
            for uuid in sorted({*computed, *said})
            if canonical(computed.get(uuid)) != canonical(said.get(uuid))
        ]
        if canonical(found["totals"]) != canonical(told["totals"]):
            differences.append(f"totals: the report says {_short(told['totals'])}, they are {_short(found['totals'])}")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise InvalidReport(f"the report {what}") from None
    return Recomputed(totals=found["totals"], differences=tuple(differences))


def _short(value: Any) -> str:
    """The credit of a result, or ``nothing``."""
    if not isinstance(value, Mapping):
        return "nothing"
    told = [
        f"attainment {value.get('attainment_ratio')}",
        f"credit {value.get('credit_ratio', value.get('credit_amount'))}",
    ]
    return ", ".join(told)
