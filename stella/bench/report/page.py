"""The page: one HTML file with everything in it, and the same charts as PNG files."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from stella.bench.report.charts import Chart, colour, objective_chart, work_chart, write_png
from stella.bench.report.series import Table, read_table
from stella.bench.report.table import (
    api_rows,
    metric_name,
    objective_of,
    page_rows,
    quantity,
    share,
    verdict,
    work_rate,
)

PAGE_NAME = "report.html"


def environment() -> Environment:
    """The template environment; everything is escaped but the charts, which are ours."""
    found = Environment(
        loader=PackageLoader("stella.bench.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    found.filters.update(quantity=quantity, share=share, verdict=verdict, metric=metric_name, colour=colour)
    return found


def _charts(document: Mapping[str, Any], tables: Mapping[str, Table]) -> tuple[list[Chart], list[Chart]]:
    events = _events(document)
    names: dict[str, tuple[str, str]] = {}
    for policy in document["policies"].values():
        for o in policy["objectives"]:
            names.setdefault(f"{o['instance']}.{o['metric']}", (o["unit"], o["kind"]))
    works = list(dict.fromkeys(name for table in tables.values() for name in table.works))
    promised = [
        objective_chart(
            name, unit, kind, tables, events, title=f"{name.split('.')[0]}: {metric_name(name.split('.')[1])}"
        )
        for name, (unit, kind) in names.items()
    ]
    return promised, [work_chart(name, tables, events) for name in works]


def _events(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(next(iter(document["policies"].values()))["events"]) if document["policies"] else []


def _objectives(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for policy in document["policies"].values():
        for like in policy["objectives"]:
            if objective_of({"objectives": [r["like"] for r in rows]}, like) is None:
                got = {name: objective_of(other, like) for name, other in document["policies"].items()}
                rows.append({"like": like, "got": got})
    return rows


def _neighbours(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name, policy in document["policies"].items():
        for work in policy["best_effort"]:
            row = rows.setdefault(work["instance"], {"instance": work["instance"], "got": {}})
            row["got"][name] = {**work, "rate": work_rate(work, policy["windows"])}
    return list(rows.values())


def _pictures(directory: Path) -> list[tuple[str, str]]:
    """The pictures of a browser, in the order in which they were taken: what each shows, and itself as a data URI."""
    found = sorted(directory.glob("*/pictures/*.png"), key=lambda path: path.stat().st_mtime)
    encoded = [base64.b64encode(path.read_bytes()).decode() for path in found]
    return [
        (path.stem.replace("-", ", "), f"data:image/png;base64,{text}")
        for path, text in zip(found, encoded, strict=True)
    ]


def render(
    document: Mapping[str, Any], tables: Mapping[str, Table], pictures: Sequence[tuple[str, str]] = ()
) -> tuple[str, list[Chart]]:
    """The page's text, and its charts. ``tables``: the CSV of each policy; ``pictures``: of a browser, with what each shows."""
    promised, works = _charts(document, tables) if tables else ([], [])
    text = (
        environment()
        .get_template("report.html.j2")
        .render(
            document=document,
            policies=document["policies"],
            objectives=_objectives(document),
            neighbours=_neighbours(document),
            promised=[(chart, Markup(chart.svg)) for chart in promised],  # noqa: S704 (drawn by us, texts escaped by matplotlib)
            works=[(chart, Markup(chart.svg)) for chart in works],  # noqa: S704
            events=_events(document),
            api_tables={name: rows for name, policy in document["policies"].items() if (rows := api_rows(policy))},
            page_tables={name: rows for name, policy in document["policies"].items() if (rows := page_rows(policy))},
            pictures=pictures,
        )
    )
    return text, [*promised, *works]


def write_report(directory: Path, document: Mapping[str, Any]) -> Path:
    """Write the page and the pictures beside ``results.json`` and the CSV files; the page's path."""
    tables = {
        name: read_table(directory / policy["series"])
        for name, policy in document["policies"].items()
        if (directory / policy["series"]).exists()
    }
    text, charts = render(document, tables, _pictures(directory))
    for chart in charts:
        write_png(chart, directory)
    path = directory / PAGE_NAME
    path.write_text(text, encoding="utf-8")
    return path
