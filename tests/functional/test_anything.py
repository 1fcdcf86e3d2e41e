"""Whatever comes: no answer is a 5xx, and every answer matches its schema (the tests' API refuses to send another)."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stella.api.routes import ROUTES
from tests.functional.conftest import Cloud, uuid

_SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
_METRICS = ["cpu", "network_packets", "network_bytes", "block_bytes", "block_operations", "block_latency", "gpu"]
_QUANTITY = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**6), 10**18),
    st.sampled_from(["20%", "1.5cores", "20kpps", "300MB/s", "64KiB", "5ms", "8kiops", "0", "-1", "nan", "", "1e400"]),
    st.text(max_size=10),
    st.none(),
    st.booleans(),
)
_OBJECTIVE = st.dictionaries(
    st.sampled_from(["floor", "ceiling", "weight", "target", "priority", "direction", "unit", "other"]),
    _QUANTITY,
    max_size=4,
)
_BODY = st.fixed_dictionaries(
    {"objectives": st.dictionaries(st.sampled_from(_METRICS), _OBJECTIVE, max_size=4)},
    optional={"priority": _QUANTITY, "generation": st.one_of(st.integers(-1, 4), st.none(), st.text(max_size=3))},
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def ready(cloud: Cloud) -> Cloud:
    host = cloud.host("host1", cpus=4)
    host.add(uuid(1), vcpus=2)
    host.report()
    return cloud


@_SETTINGS
@given(body=_BODY, dry_run=st.booleans())
def test_any_slo(ready: Cloud, body: dict[str, Any], dry_run: bool) -> None:
    answer = ready.member.ask("PUT", f"/v1/instances/{uuid(1)}/slo", json=body, params={"dry_run": dry_run})
    assert answer.status_code < 500, answer.text
    if answer.status_code == 201:
        assert ready.member.ask("DELETE", f"/v1/instances/{uuid(1)}/slo", headers={"If-Match": "*"}).status_code == 204


@_SETTINGS
@given(
    path=st.sampled_from(sorted(ROUTES)), name=_TEXT, query=st.dictionaries(_TEXT, _TEXT, max_size=3), data=st.data()
)
def test_any_request(ready: Cloud, path: str, name: str, query: dict[str, str], data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE"]))
    known = data.draw(st.sampled_from([name, uuid(1), "host1", "1"]))
    url = re.sub(r"{\w+}", lambda _: known, path).replace("?", "")
    answer = ready.admin.ask(method, url, params=query, json=data.draw(_JSON))
    assert answer.status_code < 500, answer.text


@_SETTINGS
@given(
    changes=st.dictionaries(st.sampled_from(["host", "instances", "minutes", "violations", "states", "epoch"]), _JSON)
)
def test_any_report(ready: Cloud, changes: dict[str, Any]) -> None:
    host = ready.host(f"host-{ready.clock.now:.0f}")
    ready.clock.now += 1
    assert host.report(host.body(**changes)).status_code < 500
