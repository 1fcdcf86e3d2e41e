"""The terms of SLA classes as recording rules. The rules that alert on them are the same for all: `etc/prometheus/xgos.rules.yml`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stellaclient.export.guarantees import WINDOWS, Guarantee, Terms

_INSTANCES_OF_A_RULE = 200
"""So many uuids are in one expression at most, that a person can still read it."""


def rules(found: Iterable[Guarantee]) -> dict[str, Any]:
    """A file of rules: for each class and its terms ``stella_sla:target_ratio`` and ``stella_sla:unknown_missed`` by uuid and metric.

    Objectives without a class are left out: for them the default of `xgos.rules.yml` counts.
    """
    by_terms: dict[Terms, list[Guarantee]] = {}
    for one in found:
        if one.terms.sla is not None:
            by_terms.setdefault(one.terms, []).append(one)
    made = [
        rule
        for terms in sorted(by_terms, key=lambda terms: (str(terms.sla), terms.target_ratio, terms.unknown_missed))
        for part in _parts(sorted(one.uuid for one in by_terms[terms]))
        for rule in _rules_of(terms, part)
    ]
    return {"groups": [{"name": "stella-sla-terms", "rules": made}]}


def _parts(uuids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (uuids[start : start + _INSTANCES_OF_A_RULE] for start in range(0, len(uuids), _INSTANCES_OF_A_RULE))


def _rules_of(terms: Terms, uuids: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    objectives = f'group by (uuid, metric) ({WINDOWS}{{uuid=~"{"|".join(uuids)}"}})'
    values = (("target_ratio", format(terms.target_ratio, "f")), ("unknown_missed", str(int(terms.unknown_missed))))
    for name, value in values:
        yield {"record": f"stella_sla:{name}", "expr": f"{value} * {objectives}", "labels": {"sla": str(terms.sla)}}
