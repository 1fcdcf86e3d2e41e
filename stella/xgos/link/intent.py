"""The API's answer to a host that asks for its intent, checked before anything of it is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stella.model import wire
from stella.sla.exact import parse_ratio
from stella.sla.terms import Terms, Unknown
from stella.xgos.intents.instance_names import canonical
from stella.xgos.intents.source import IntentSet, Wanted, wanted
from stella.xgos.local_api.agent_api import SlaClass

MODES = ("observe", "enforce", "maintenance")
LEAST_POLL_SECONDS = 0.1
MOST_POLL_SECONDS = 60.0
LEAST_REPORT_SECONDS = 0.5
MOST_REPORT_SECONDS = 60.0
DEFAULT_REPORT_SECONDS = 3.0
"""Where the API names no interval: that of the release before does not."""

LARGEST_WATCHED = 1000


class InvalidIntent(ValueError):
    """The answer as a whole cannot be used; nothing changes. One line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIntent:
    """What the API asks of this host. ``mode`` is empty where the API names none that this release knows.

    ``watched``: the instances of which it wants a point each second.
    """

    revision: int
    poll_seconds: float
    report_seconds: float
    watched: frozenset[str]
    mode: str
    slos: Mapping[str, Wanted]
    classes: Mapping[str, SlaClass] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slo:
    revision: int
    objectives: object = None
    sla: object = None
    accepted: object = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sla:
    name: str
    attainment_target_ratio: str
    start: float
    until: float
    unknown: str = Unknown.MISSED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intent:
    revision: int
    slos: Mapping[str, _Slo]
    poll_seconds: float = 1.0
    report_seconds: float = DEFAULT_REPORT_SECONDS
    watched: object = None
    mode: str | None = None
    host: str | None = None


def parse_intent(body: bytes, host_name: str) -> HostIntent:
    """Read the answer; unknown keys are ignored. An SLO that cannot be read is kept with its error, to be refused by itself.

    Raises `InvalidIntent` where the whole cannot be used or is for another host.
    """
    try:
        found = wire.decode(_Intent, wire.parse(body))
    except wire.InvalidWire as error:
        raise InvalidIntent(str(error)) from None
    if found.host is not None and found.host != host_name:
        raise InvalidIntent(f"it is the intent of host {found.host[:64]!r}")
    if found.revision < 0 or any(slo.revision < 0 for slo in found.slos.values()):
        raise InvalidIntent("revision: is negative")
    return HostIntent(
        revision=found.revision,
        poll_seconds=min(MOST_POLL_SECONDS, max(LEAST_POLL_SECONDS, found.poll_seconds)),
        report_seconds=min(MOST_REPORT_SECONDS, max(LEAST_REPORT_SECONDS, found.report_seconds)),
        watched=_watched(found.watched),
        mode=found.mode if found.mode in MODES else "",
        classes={canonical(uuid): known for uuid, slo in found.slos.items() if (known := _class(slo.sla)) is not None},
        slos={
            canonical(uuid): wanted(slo.objectives, slo.revision, accepted=slo.accepted is True)
            for uuid, slo in found.slos.items()
        },
    )


def _class(found: object) -> SlaClass | None:
    """The class of an instance. What cannot be read is nothing that SLOs depend on: then it is as if there were none."""
    try:
        told = wire.decode(_Sla, found)
        terms = Terms(target_ppm=parse_ratio(told.attainment_target_ratio), unknown=Unknown(told.unknown))
    except ValueError:
        return None
    return SlaClass(name=told.name, terms=terms, start=int(told.start), end=int(told.until))


def _watched(found: object) -> frozenset[str]:
    """The uuids; until when is the API's to know, which leaves them out then. What cannot be read is nothing that SLOs depend on."""
    uuids = list(found)[:LARGEST_WATCHED] if isinstance(found, dict) else []
    return frozenset(canonical(uuid) for uuid in uuids if isinstance(uuid, str))


def doubt(intent: HostIntent, known: IntentSet | None, older: int | None = None) -> str:
    """Why the intent may come from a database that was wiped or is older than what this host was told; empty: it does not.

    ``older``: the lowest revision below ``known`` that was answered since an intent was last followed. A database that was restored
    goes on from there: once its revision has caught up, SLOs that it never knew would look withdrawn.
    """
    if known is None:
        return ""
    if intent.revision < known.revision:
        return f"revision {intent.revision} is before {known.revision}, which this host keeps; is the API's database older?"
    before = {uuid: slo.revision for uuid, slo in known.wanted.items()}
    now = {uuid: slo.revision for uuid, slo in intent.slos.items()}
    if intent.revision == known.revision and before != now:
        return f"revision {intent.revision} has other SLOs than before; is the API's database another one?"
    if older is not None:
        lost = sum(now.get(uuid, 0) < revision for uuid, revision in before.items() if revision > older)
        if lost:
            return f"revision {intent.revision} comes after {older} and lacks {lost} SLOs made since; was an older database restored?"
    return ""
