"""Whatever comes at the same time: nothing is promised twice, nothing is half done."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from falcon import testing
from sqlalchemy import func, select

from stella.db.models import SloChange, SloRow
from tests.functional.conftest import BOTH_DATABASES, Agent, Cloud, User, uuid

pytestmark = BOTH_DATABASES

_AT_ONCE = 8


def _put_all(user: User, asked: Sequence[tuple[str, float]]) -> list[testing.Result]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda a: user.put_slo(a[0], {"cpu": {"floor": a[1]}}), asked))


def _host_with(cloud: Cloud, instances: int, cpus: int) -> Agent:
    host = cloud.host("host1", cpus=cpus)
    for number in range(instances):
        host.add(uuid(number))
    assert host.report().status_code == 200
    return host


def test_no_host_is_overcommitted_by_requests_at_the_same_time(cloud: Cloud) -> None:
    _host_with(cloud, 24, cpus=2)
    answers = _put_all(cloud.member, [(uuid(number), 0.25) for number in range(24)])
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {201, 422}, statuses
    shown = cloud.admin.get("/v1/hosts/host1").json
    with cloud.database.reader() as session:
        held = session.scalars(select(SloRow.reserved_cpu_cores)).all()
    assert len(held) == statuses[201] >= 4
    assert sum(held) <= shown["capacity_cpu_cores"] + 1e-9
    assert abs(sum(held) - shown["reserved_cpu_cores"]) < 1e-9


def test_of_many_who_replace_the_same_generation_one_wins(cloud: Cloud) -> None:
    _host_with(cloud, 1, cpus=2)
    cloud.member.put_slo(uuid(0), {"cpu": {"floor": 0.1}})

    def replace(number: int) -> testing.Result:
        return cloud.member.put_slo(uuid(0), {"cpu": {"floor": 0.1 + number / 100}}, generation=1)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        statuses = Counter(answer.status_code for answer in pool.map(replace, range(_AT_ONCE)))
    assert statuses == {200: 1, 409: _AT_ONCE - 1}
    with cloud.database.reader() as session:
        assert session.scalar(select(func.count()).select_from(SloChange)) == 2


def test_admission_and_reports_that_change_the_capacity_at_the_same_time(cloud: Cloud) -> None:
    host = _host_with(cloud, 12, cpus=4)
    bodies = []
    for number in range(24):
        body = host.body()
        body["host"]["capacity"]["cpu_cores"] = 3.0 + number % 3 / 10
        bodies.append(body)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reports = pool.map(host.report, bodies)
        answers = _put_all(cloud.member, [(uuid(number), 0.2) for number in range(12)])
        assert {answer.status_code for answer in reports} == {200}
    assert {answer.status_code for answer in answers} == {201}
    shown = cloud.admin.get("/v1/hosts/host1").json
    with cloud.database.reader() as session:
        assert abs(sum(session.scalars(select(SloRow.reserved_cpu_cores))) - shown["reserved_cpu_cores"]) < 1e-9
