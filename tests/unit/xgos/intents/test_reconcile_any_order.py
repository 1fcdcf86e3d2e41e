"""Whatever happens in whatever order: never more is set aside than there is, and what is said agrees with what is kept."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stella.model.intent import IntentState
from stella.xgos.intents.changes import Refused
from stella.xgos.intents.presence import GONE_SECONDS
from stella.xgos.intents.source import CLOUD, FILE, PRECEDENCE
from tests.unit.xgos.conftest import TWIN, VM1, VM2
from tests.unit.xgos.intents.test_reconcile import Host, slo

_UUIDS = (VM1, VM2, TWIN)
_FLOORS = st.sampled_from((0.3, 0.6, 1.0, 1.7))
_SETS = st.none() | st.dictionaries(
    st.sampled_from(_UUIDS), st.tuples(_FLOORS, st.integers(0, 2)).map(lambda pair: slo(*pair))
)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("manual"), st.sampled_from(_UUIDS), st.none() | _FLOORS),
        st.tuples(st.sampled_from((CLOUD, FILE)), st.just(""), _SETS),
        st.tuples(st.sampled_from(("start", "stop", "delete")), st.sampled_from(_UUIDS), st.none()),
        st.tuples(st.just("hypervisor"), st.just(""), st.booleans()),
        st.tuples(st.just("restart"), st.just(""), st.none()),
        st.tuples(st.just("wait"), st.just(""), st.sampled_from((0.25, 5.0, GONE_SECONDS + 5))),
    ),
    max_size=25,
)


def do(host: Host, kind: str, uuid: str, value: Any, revision: int) -> None:
    """Let one thing happen."""
    off = set(host.shut_off or ())
    match kind:
        case "manual":
            with contextlib.suppress(Refused):
                host.by_hand(uuid, value)
        case "cloud" | "file":
            source = host.cloud if kind == CLOUD else host.file
            if value is not None:
                source.want(revision, value)
        case "start":
            host.running[uuid] = uuid[-1]
            off.discard(uuid)
        case "stop" | "delete":
            host.running.pop(uuid, None)
            off = off | {uuid} if kind == "stop" else off - {uuid}
        case "hypervisor":
            host.hypervisor = bool(value)
        case "restart":
            host.store.save()
            host.start()
        case "wait":
            host.ticks(value, period=min(1.0, value))
    host.shut_off = tuple(off)


def check(host: Host) -> None:
    """What must be true after every tick."""
    assert host.held() <= host.capacity + 1e-6
    for uuid, intent in host.store.intents.items():
        standing = host.reconciler.standings[uuid]
        if standing.slo == intent.slo:
            assert (standing.state, standing.source) == (intent.state, intent.source)
        if intent.state is IntentState.ENFORCED:
            assert intent.reserved_cpu_cores > 0
        if intent.state is IntentState.PENDING:
            assert intent.reserved_cpu_cores == 0
    asked = {CLOUD: host.cloud.set, FILE: host.file.set}
    for uuid, standing in host.reconciler.standings.items():
        higher = PRECEDENCE[: PRECEDENCE.index(standing.source)]
        assert not [name for name in higher if (found := asked.get(name)) and uuid in found.wanted]


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_whatever_happens(steps: list[tuple[str, str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory))
        host.ticks()
        for revision, (kind, uuid, value) in enumerate(steps, start=1):
            before = dict(host.store.intents), host.held()
            do(host, kind, uuid, value, revision)
            host.ticks()
            check(host)
            if kind == "stop" and not host.hypervisor:
                assert (dict(host.store.intents), host.held()) == before
        host.hypervisor = True
        host.ticks(GONE_SECONDS + 20, period=1.0)
        check(host)
        settled = dict(host.reconciler.standings)
        host.ticks(40, period=1.0)  # nothing happens: nothing oscillates
        assert {u: s.state for u, s in host.reconciler.standings.items()} == {u: s.state for u, s in settled.items()}
