"""One outage: a service is stopped for a while, or killed and started again, while a floor is measured from outside."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keystoneauth1.exceptions import ClientException
from laboratory.services import Services

from tests.openstack.conftest import Failed, Person
from tests.openstack.outages.guests import Counter
from tests.openstack.outages.state import Cloud, differences
from tests.openstack.outages.windows import Kept, kept

LONGEST_GAP_SECONDS = 5
RECOVERY_SECONDS = 180.0
STOPPED: Mapping[str, str] = {
    "keystone": "keystone-api",
    "placement": "placement-api",
    "rabbitmq": "rabbitmq",
    "mariadb": "mariadb",
}
"""Outages in which a service is away for a while, and the laboratory's name of the service."""

KILLED: Mapping[str, str] = {name: name for name in ("nova-compute", "xgos", "stella-api", "stella-engine")}
"""Those in which it is killed and started again at once."""

OUTAGES = {**STOPPED, **KILLED}
_AWAY_AT_LEAST_SECONDS = 4.0
_RESTARTED_SECONDS = 60.0
_ANSWER_SECONDS = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every trial needs. ``set_slo`` sets the floor (packets/s) as the member does, within so many seconds; raises `Failed`."""

    services: Services
    cloud: Cloud
    counter: Counter
    member: Person
    uuid: str
    floor: int
    set_slo: Callable[[int, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``recovered_seconds``: from the service's start until another SLO was set and enforced; None: not within 180 s.

    ``meanwhile``: what a member who set an SLO during the outage was told. ``wrong`` are whatever was lost, leaked or ended.
    """

    name: str
    before: Kept
    during: Kept
    after: Kept
    recovered_seconds: float | None
    unknown_seconds: int | None
    meanwhile: str
    wrong: Sequence[str] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        """Whether the floor held, nothing was lost, and all went on by itself."""
        longest = max(self.during.longest_seconds, self.after.longest_seconds)
        return longest <= LONGEST_GAP_SECONDS and not self.wrong and self.recovered_seconds is not None


def run(name: str, setting: Setting, *, away_seconds: float | None, watch_seconds: float) -> Outcome:
    """One outage: the service is stopped for ``away_seconds``, or killed (None).

    ``watch_seconds`` are measured before it and again after the recovery.
    """
    service = OUTAGES[name]
    before = setting.cloud.state(setting.uuid)
    running = set(setting.services.running())
    began = time.monotonic()
    time.sleep(watch_seconds)
    broke, clock_broke = time.monotonic(), time.time()
    meanwhile = "not asked"
    if away_seconds is not None:
        with _away(setting.services, service):
            meanwhile = _ask_meanwhile(setting, away_seconds)
            time.sleep(max(0.0, broke + away_seconds - time.monotonic()))
        mended = time.monotonic()
    else:
        _kill(setting.services, service)
        mended = time.monotonic()
    recovered = _recover(setting, mended)
    time.sleep(watch_seconds)
    end = time.monotonic()
    samples = setting.counter.samples()
    wrong = [] if recovered is not None else [f"no SLO could be set within {RECOVERY_SECONDS:.0f} s"]
    unknown = None
    try:
        wrong += differences(before, setting.cloud.state(setting.uuid))
        times = [time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(moment)) for moment in (clock_broke, time.time())]
        unknown = setting.cloud.unknown_seconds(setting.uuid, *times)
    except (Failed, ClientException) as error:
        wrong.append(" ".join(str(error).split())[:200])
    if ended := running - set(setting.services.running()):
        wrong.append(f"ended: {', '.join(sorted(ended))}")
    return Outcome(
        name=name,
        before=kept(samples, setting.floor, began, broke),
        during=kept(samples, setting.floor, broke, mended),
        after=kept(samples, setting.floor, mended, end),
        recovered_seconds=recovered,
        unknown_seconds=unknown,
        meanwhile=meanwhile,
        wrong=wrong,
    )


@contextlib.contextmanager
def _away(services: Services, service: str):  # type: ignore[no-untyped-def]
    """Without the service; it is started again whatever happens."""
    services.stop(service)
    try:
        yield
    finally:
        services.start(service)


def _child(supervisor: int) -> int | None:
    """The service that a supervisor runs now; between two lives there is none, or a ``sleep``."""
    with contextlib.suppress(OSError, ValueError):
        for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() != "sleep":
                return int(pid)
    return None


def _kill(services: Services, service: str) -> None:
    """Kill all of it; its supervisor starts it again. Returns when it runs. Raises `Failed`."""
    supervisor = services.pid(service)
    old = _child(supervisor) if supervisor else None
    if supervisor is None or old is None:
        raise Failed(f"{service} does not run")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(old, signal.SIGKILL)
    limit = time.monotonic() + _RESTARTED_SECONDS
    while (now := _child(supervisor)) in (None, old):
        if time.monotonic() > limit:
            raise Failed(f"{service} is not started again: {now}")
        time.sleep(0.1)


def _ask_meanwhile(setting: Setting, away_seconds: float) -> str:
    """What a member is told who sets another SLO while the service is away; nothing is asked in a short outage."""
    if away_seconds < _AWAY_AT_LEAST_SECONDS:
        return "not asked"
    time.sleep(away_seconds / 4)
    try:
        setting.set_slo(setting.floor - 100, away_seconds / 2)
    except Failed as error:
        return f"refused: {' '.join(str(error).split())[:160]}"
    return "accepted"


def _recover(setting: Setting, mended: float) -> float | None:
    """Set another SLO until it works, and then the one from before."""
    recovered = None
    for floor in (setting.floor - 200, setting.floor):
        while True:
            try:
                setting.set_slo(floor, _ANSWER_SECONDS)
            except Failed:
                if time.monotonic() - mended > RECOVERY_SECONDS:
                    return recovered
                time.sleep(1)
                continue
            recovered = recovered or time.monotonic() - mended
            break
    return recovered
