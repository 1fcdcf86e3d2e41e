"""The page: one HTML file with everything in it, and the same charts as PNG files."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from stella.bench.report.charts import Chart, colour, cpu_chart, objective_chart, work_chart, write_png
from stella.bench.report.sections import EMULATION, all_objectives, headline, metric_name, remarks, sections
from stella.bench.report.series import Table, read_table

PAGE_NAME = "report.html"


def _charts(document: Mapping[str, Any], tables: Mapping[str, Table]) -> list[Chart]:
    events = list(next(iter(document["policies"].values()))["events"]) if document["policies"] else []
    found = []
    for o in {(o["instance"], o["metric"]): o for o in reversed(all_objectives(document))}.values():
        name, title = f"{o['instance']}.{o['metric']}", f"{o['instance']}: {metric_name(o['metric'])}"
        found.append(objective_chart(name, o["unit"], o["kind"], tables, events, title=title))
    found.reverse()
    if any(table.cpus for table in tables.values()):
        found.append(cpu_chart(tables, cores=document["machine"].get("cores_used") or document["machine"].get("cores")))
    works = dict.fromkeys(name for table in tables.values() for name in table.works)
    return found + [work_chart(name, tables, events) for name in works]


def _pictures(directory: Path) -> list[tuple[str, str]]:
    """The pictures of a browser, in the order in which they were taken: what each shows, and itself as a data URI."""
    found = sorted(directory.glob("*/pictures/*.png"), key=lambda path: path.stat().st_mtime)
    return [
        (path.stem.replace("-", ", "), f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}")
        for path in found
    ]


def render(
    document: Mapping[str, Any], tables: Mapping[str, Table], pictures: Sequence[tuple[str, str]] = ()
) -> tuple[str, list[Chart]]:
    """The page's text, and its charts. ``tables``: the CSV of each policy; ``pictures``: of a browser, with what each shows."""
    charts = _charts(document, tables) if tables else []
    environment = Environment(
        loader=PackageLoader("stella.bench.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["colour"] = colour
    files = ["results.json", *(policy["series"] for policy in document["policies"].values())]
    text = environment.get_template("report.html.j2").render(
        document=document,
        headline=headline(document),
        emulation=EMULATION if document["machine"].get("accelerator") == "tcg" else "",
        policies=document["policies"],
        sections=sections(document, tables),
        remarks=list(remarks(document)),
        pictures=pictures,
        charts=[(chart, Markup(chart.svg)) for chart in charts],  # noqa: S704 (drawn by us, texts escaped by matplotlib)
        files=[*files, *(f"{chart.file_name}.png" for chart in charts)],
    )
    return text, charts


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
