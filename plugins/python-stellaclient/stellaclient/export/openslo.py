"""SLOs as OpenSLO v1, and back: Stella's profile of it.

A Service is an instance; an SLO with its SLI is one objective of it that can be missed. Quantities are annotations
`stella/KEY`, since OpenSLO has no word for a floor under demand: an idle second is no event. What cannot be missed (a ceiling or
a weight alone) is an annotation `stella/METRIC.KEY` of the Service. Import takes what export writes, with other quantities;
anything else is a problem.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stellaclient.export.guarantees import Guarantee, selector, sentence

API_VERSION = "openslo/v1"
PREFIX = "stella/"
KEYS = ("floor", "target", "ceiling", "weight", "priority", "direction", "unit")
_SOURCE = "source"
_DATA_SOURCE, _RECEIVER = "stella-prometheus", "stella-alertmanager"
_BURN = (("1h", 14.4, "page"), ("6h", 6, "page"), ("3d", 1, "ticket"))
_LONGEST_DISPLAY_NAME = 63
_FREE = (("metadata", "displayName"), ("spec", "description"), ("spec", "connectionDetails", "url"))
"""Texts for people, and where Prometheus listens: import takes no notice of them."""
_NEEDED = ("apiVersion", "kind", "metadata", "spec", "name", "service", "budgetingMethod", "objectives", "target")
_SERVICE = re.compile(r"instance-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
Document = Mapping[str, Any]
Objectives = dict[str, dict[str, Any]]


def documents(found: Sequence[Guarantee], *, prometheus_url: str) -> list[dict[str, Any]]:
    """All documents, of the kinds DataSource, AlertNotificationTarget, AlertCondition, AlertPolicy, Service, SLI and SLO."""
    made = [
        _document("DataSource", _DATA_SOURCE, {"type": "Prometheus", "connectionDetails": {"url": prometheus_url}}),
        _document("AlertNotificationTarget", _RECEIVER, {"target": "alertmanager"}),
    ]
    for span, threshold, severity in _BURN:
        condition = {"kind": "burnrate", "op": "gt", "threshold": threshold, "lookbackWindow": span}
        made.append(_document("AlertCondition", _burn(span), {"severity": severity, "condition": condition}))
        policy = {
            "alertWhenBreaching": True,
            "conditions": [{"conditionRef": _burn(span)}],
            "notificationTargets": [{"targetRef": _RECEIVER}],
        }
        made.append(_document("AlertPolicy", _burn(span), policy))
    for one in found:
        made += _of_instance(one)
    return made


def _document(kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    kept = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **kept}, "spec": dict(spec)}


def _burn(span: str) -> str:
    return f"stella-burn-{span}"


def _text(value: Any) -> str:
    """A number without a needless point, exact; text as it is."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _of_instance(one: Guarantee) -> Iterator[dict[str, Any]]:
    measured = list(one.measured())
    others = {
        f"{PREFIX}{metric}.{key}": _text(keys[key])
        for metric, keys in sorted(one.added.items())
        if metric not in measured
        for key in KEYS
        if key in keys
    }
    labels = {name: value for name, value in (("project", one.project), ("sla", one.terms.sla)) if value}
    service = f"instance-{one.uuid}"
    name = (one.name or one.uuid)[:_LONGEST_DISPLAY_NAME]
    yield _document("Service", service, {}, displayName=name, labels=labels, annotations=others)
    for metric in measured:
        added = one.added.get(metric)
        keys = one.objectives[metric] if added is None else added
        annotations = {f"{PREFIX}{key}": _text(keys[key]) for key in KEYS if key in keys}
        if added is None:
            annotations[f"{PREFIX}{_SOURCE}"] = "flavor"
        slo_name, title = f"{one.uuid}-{metric.replace('_', '-')}", f"{name[:40]} {metric}"
        good, total = (_query(selector(one, metric, met=True, missed=missed)) for missed in (False, True))
        yield _document("SLI", slo_name, {"ratioMetric": {"counter": True, "good": good, "total": total}})
        spec = {
            "description": sentence(one, metric),
            "service": service,
            "indicatorRef": slo_name,
            "timeWindow": [
                {
                    "duration": "1M",
                    "isRolling": False,
                    "calendar": {"startTime": "2000-01-01 00:00:00", "timeZone": one.terms.time_zone},
                }
            ],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": metric, "target": float(one.terms.target_ratio)}],
            "alertPolicies": [{"alertPolicyRef": _burn(span)} for span, _, _ in _BURN],
        }
        yield _document("SLO", slo_name, spec, displayName=title, labels=labels, annotations=annotations)


def _query(selected: str) -> dict[str, Any]:
    source = {"metricSourceRef": _DATA_SOURCE, "type": "Prometheus", "spec": {"query": f"sum({selected})"}}
    return {"metricSource": source}


@dataclass(slots=True, kw_only=True)
class Read:
    """What a file says: quantities as they are written, by uuid and metric, and what is wrong, one line each."""

    objectives: dict[str, Objectives] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(given: Iterable[Any]) -> Read:
    """The objectives of each Service. What a flavor sells is not among them."""
    found = Read()
    slos: list[Document] = []
    for number, document in enumerate(given, start=1):
        if not _is_document(document):
            found.problems.append(f"document {number}: is not one of {API_VERSION} with kind, metadata.name and spec")
        elif document["kind"] == "SLO":
            slos.append(document)
        elif document["kind"] == "Service":
            _read_service(document, found)
    for document in slos:
        _read_slo(document, found)
    found.problems += [f"Service instance-{uuid}: has no SLO" for uuid, one in found.objectives.items() if not one]
    return found


def _is_document(document: Any) -> bool:
    if not isinstance(document, Mapping) or document.get("apiVersion") != API_VERSION:
        return False
    metadata = document.get("metadata")
    named = isinstance(metadata, Mapping) and isinstance(metadata.get("name"), str)
    return named and isinstance(document.get("kind"), str) and isinstance(document.get("spec"), Mapping)


def _read_service(document: Document, found: Read) -> None:
    matched = _SERVICE.fullmatch(document["metadata"]["name"])
    if matched is None:
        found.problems.append(f"{_name(document)}: metadata.name: must be instance- and the uuid of the instance")
        return
    if matched[1] in found.objectives:
        found.problems.append(f"{_name(document)}: is in the file twice")
    objectives = found.objectives.setdefault(matched[1], {})
    for path, value in _annotations(document):
        metric, dot, key = path.partition(".")
        if not dot or key not in KEYS:
            found.problems.append(f"{_name(document)}: metadata.annotations.{PREFIX}{path}: is not supported")
            continue
        objectives.setdefault(metric, {})[key] = value


def _read_slo(document: Document, found: Read) -> None:
    matched = _SERVICE.fullmatch(str(document["spec"].get("service")))
    objectives = found.objectives.get(matched[1]) if matched else None
    if matched is None or objectives is None:
        found.problems.append(f"{_name(document)}: spec.service: there is no such Service in the file")
        return
    metric = document["metadata"]["name"].removeprefix(f"{matched[1]}-").replace("-", "_")
    keys = dict(_annotations(document))
    if keys.pop(_SOURCE, None) is not None:
        objectives.setdefault(metric, {}).update({_SOURCE: "flavor"})
        return
    if metric in objectives:
        found.problems.append(f"{_name(document)}: there is already an objective of {metric}")
    for key in [key for key in keys if key not in KEYS]:
        found.problems.append(f"{_name(document)}: metadata.annotations.{PREFIX}{key}: is not supported")
        del keys[key]
    objectives[metric] = keys


def _annotations(document: Document) -> Iterator[tuple[str, Any]]:
    annotations = document["metadata"].get("annotations")
    for key, value in (annotations if isinstance(annotations, Mapping) else {}).items():
        if str(key).startswith(PREFIX):
            yield str(key).removeprefix(PREFIX), value


def without_flavor(objectives: Mapping[str, Mapping[str, Any]]) -> Objectives:
    """Those that a user may set."""
    return {metric: dict(keys) for metric, keys in objectives.items() if _SOURCE not in keys}


def unsupported(given: Iterable[Document], expected: Iterable[Document]) -> list[str]:
    """Where a file differs from what export writes for the same quantities, one line each."""
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in expected}
    problems = []
    for document in given:
        twin = by_name.get((document["kind"], document["metadata"]["name"]))
        if twin is None:
            hint = f" without {PREFIX}floor or {PREFIX}target" if document["kind"] in ("SLO", "SLI") else ""
            problems.append(f"{_name(document)}: is not supported; Stella has no such {document['kind']}{hint}")
            continue
        own = _is_own if _SOURCE not in dict(_annotations(twin)) else _is_never
        problems += [f"{_name(document)}: {line}" for line in _differences((), document, twin, own)]
    return problems


def _is_own(path: tuple[str, ...]) -> bool:
    """Whether it is an annotation that `read` has read."""
    return path[:2] == ("metadata", "annotations") and path[-1].startswith(PREFIX)


def _is_never(path: tuple[str, ...]) -> bool:
    return False


def _differences(
    path: tuple[str, ...], given: Any, twin: Any, is_own: Callable[[tuple[str, ...]], bool]
) -> Iterator[str]:
    if isinstance(given, Mapping) and isinstance(twin, Mapping):
        for key, value in given.items():
            inner = (*path, str(key))
            if inner in _FREE or is_own(inner):
                continue
            if key in twin:
                yield from _differences(inner, value, twin[key], is_own)
            elif inner == ("metadata", "annotations") and isinstance(value, Mapping):
                yield from _differences(inner, value, {}, is_own)
            else:
                yield f"{_show(inner)}: is not supported"
        yield from (f"{_show((*path, key))}: is missing" for key in twin if key not in given and key in _NEEDED)
    elif isinstance(given, list) and isinstance(twin, list):
        for index, value in enumerate(given):
            if index >= len(twin):
                yield f"{_show((*path, str(index)))}: is not supported"
            else:
                yield from _differences((*path, str(index)), value, twin[index], is_own)
    elif (str(given) if isinstance(twin, str) else given) != twin:  # YAML takes some texts for dates or numbers
        yield f"{_show(path)}: {_short(given)} is not supported; it is {_short(twin)}"


def _show(path: tuple[str, ...]) -> str:
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path).removeprefix(".")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 160 else f"{text[:157]}..."


def _name(document: Document) -> str:
    return f"{document['kind']} {_short(document['metadata']['name'])}"
