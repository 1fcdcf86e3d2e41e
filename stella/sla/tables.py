"""A report for people: rows for a spreadsheet, and an HTML page to be printed."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_HEAD = (
    "uuid",
    "name",
    "project_id",
    "metric",
    "attainment_ratio",
    "attainment_ratio_measured",
    "attainment_ratio_without_exclusions",
    "met_seconds",
    "missed_seconds",
    "allowed_seconds",
    "unknown_seconds",
    "own_limits_seconds",
    "is_met",
    "instance_credit_ratio",
    "instance_credit_amount",
    "currency",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _objectives(report: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]:
    """Each objective with its result and its roll-up."""
    rollups = {(row["uuid"], row["metric"]): row for row in report["rollups"]}
    for result in report["results"]:
        for objective in result["objectives"]:
            yield objective, result, rollups[result["uuid"], objective["metric"]]


def rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The objectives, a line each, with a head; the credit is that of the instance and stands in each of its lines."""
    found = [list(_HEAD)]
    for objective, result, row in _objectives(report):
        named = [result["uuid"], row["name"], row["project_id"]]
        own = [objective[name] for name in _HEAD[3:13]]
        owed = [result["credit_ratio"], result["credit_amount"], report["totals"]["currency"]]
        found.append([_cell(value) for value in (*named, *own, *owed)])
    return found


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    def row(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(_shown(cell))}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(line, "td") for line in lines) + "</table>"


def _shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
    return str(value)


def percent(ratio: str | None) -> str:
    """``99.9085 %`` of ``0.999085``: the decimal point moved, nothing rounded."""
    if ratio is None:
        return "no demand"
    whole, _, part = ratio.partition(".")
    digits = part.ljust(2, "0")
    shown = f"{whole}{digits[:2]}".lstrip("0") or "0"
    rest = digits[2:].rstrip("0")
    return f"{shown}.{rest} %" if rest else f"{shown} %"


_STYLE = (
    "body{font:11pt sans-serif;margin:2em}table{border-collapse:collapse;width:100%;margin:0 0 1.5em}"
    "th,td{border:1px solid #888;padding:.25em .5em;text-align:left}th{background:#eee}"
    "tr{break-inside:avoid}code{overflow-wrap:anywhere}"
)


def html(report: Mapping[str, Any]) -> str:
    """One page of HTML without scripts, pictures or links."""
    period, totals, sla = report["period"], report["totals"], report["sla"]
    title = f"SLA {sla['name']}, {period['name']}"
    currency = totals["currency"] or ""
    state = "final" if period["final"] else "not final: it may change until what hosts could not report has come"
    terms = report["terms"]
    promised = f"Promised: {percent(terms['attainment_target_ratio'])} of the seconds with demand."
    promised += f" Unknown seconds: {terms['unknown']}."
    parts = [
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(period['start'])} to {escape(period['until'])} ({escape(period['time_zone'])}), {state}. {escape(promised)}</p>",
        "<h2>Result</h2>",
        _table(
            ("instances", "missed", "attainment", "as measured", "credit"),
            [
                (
                    totals["instances"],
                    totals["instances_missed"],
                    percent(totals["attainment_ratio"]),
                    percent(totals["attainment_ratio_measured"]),
                    f"{totals['credit_amount']} {currency}" if totals["credit_amount"] is not None else None,
                )
            ],
        ),
        "<h2>Instances</h2>",
        _instances(report, currency),
        "<h2>Exclusions</h2>",
        _table(
            ("id", "kind", "of", "from", "until", "reason", "author", "withdrawn"),
            [
                (
                    *(one["id"], one["kind"], " ".join(filter(None, (one["scope"], one["target"])))),
                    *(one["start"], one["until"], one["reason"], one["author"], _withdrawn(one)),
                )
                for one in report["exclusions"]
            ],
        ),
        "<h2>Corrections</h2>",
        _table(
            ("id", "instance", "metric", "seconds", "from", "to", "reason", "author", "withdrawn"),
            [
                (
                    *(
                        one[name]
                        for name in ("id", "uuid", "metric", "seconds", "source", "target", "reason", "author")
                    ),
                    _withdrawn(one),
                )
                for one in report["corrections"]
            ],
        ),
        f"<p>SHA-256 of the JSON of this report: <code>{escape(report['sha256'])}</code></p></body></html>",
    ]
    return "\n".join(parts)


def _instances(report: Mapping[str, Any], currency: str) -> str:
    lines = [
        (
            f"{row['name']} ({result['uuid']})",
            objective["metric"],
            percent(objective["attainment_ratio"]),
            percent(objective["attainment_ratio_without_exclusions"]),
            percent(objective["attainment_ratio_measured"]),
            f"{objective['missed_seconds']} of {objective['allowed_seconds']}",
            objective["unknown_seconds"],
            objective["is_met"],
            _owed(result, currency),
        )
        for objective, result, row in _objectives(report)
    ]
    head = (
        "instance",
        "objective",
        "attainment",
        "without exclusions",
        "as measured",
        "missed s of allowed",
        "unknown s",
        "met",
        "credit",
    )
    return _table(head, lines)


def _owed(result: Mapping[str, Any], currency: str) -> str:
    ratio = percent(result["credit_ratio"])
    return f"{ratio}: {result['credit_amount']} {currency}" if result["credit_amount"] is not None else ratio


def _withdrawn(one: Mapping[str, Any]) -> str | None:
    return (
        None
        if one["withdrawn_at"] is None
        else f"{one['withdrawn_at']} {one['withdrawn_by']}: {one['withdrawn_reason']}"
    )
