"""Users who set and withdraw SLOs, and a host that reports, all the time; what was answered is kept, to compare with the database.

An answer that was lost says nothing: what was asked may have been done or not, but never by half.
"""

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select

from stella.db import decisions, hosts
from stella.db.models import DecisionRow, Instance, Minute, SloChange, SloRow
from stella.model import wire
from tests.functional.conftest import Agent, Cloud, uuid
from tests.functional.process import Server

_PAUSE_SECONDS = 0.05
_MINUTE = 60


@dataclass
class Ledger:
    """What was answered with success."""

    accepted: dict[str, dict[int, Any]] = field(default_factory=dict)
    """By uuid: generation and objectives; None: withdrawn."""
    minutes: dict[int, int] = field(default_factory=dict)
    """By start: the seconds that were met."""
    unforeseen: list[Any] = field(default_factory=list)
    unavailable: int = 0
    lost: int = 0

    @property
    def changes(self) -> int:
        """How many changes of SLOs were answered."""
        return sum(len(accepted) for accepted in list(self.accepted.values()))


class Traffic:
    """Users of ``instances`` instances of one host, each writing to its own."""

    def __init__(self, cloud: Cloud, server: Server, *, instances: int, seed: int) -> None:
        self.cloud, self.server, self.ledger = cloud, server, Ledger()
        self._uuids = [uuid(number) for number in range(instances)]
        self._stop = threading.Event()
        self._seed = seed
        cloud.clock.now = time.time()
        self.host: Agent = cloud.host("host1", cpus=8)
        for name in self._uuids:
            self.host.add(name)
        assert self.host.report().status_code == 200
        self._first_minute = int(time.time()) // _MINUTE * _MINUTE - 20 * 1440 * _MINUTE

    @contextmanager
    def flowing(self) -> Iterator[Ledger]:
        """Until the block ends."""
        threads = [threading.Thread(target=self._write, args=(name,)) for name in self._uuids]
        threads.append(threading.Thread(target=self._report))
        for thread in threads:
            thread.start()
        try:
            yield self.ledger
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
            assert not any(thread.is_alive() for thread in threads)

    def _write(self, name: str) -> None:
        chance, path, generation = random.Random(f"{self._seed} {name}"), f"/v1/instances/{name}/slo", 0
        accepted = self.ledger.accepted.setdefault(name, {})
        while not self._stop.is_set():
            floor = round(chance.uniform(0.05, 0.3), 3)
            objectives = {"cpu": {"floor": floor}} if chance.random() < 0.8 else None
            if objectives is None:
                found = self._ask("DELETE", f"{path}?generation={generation}")
            else:
                found = self._ask("PUT", path, {"objectives": objectives, "generation": generation})
            if found is None:
                continue
            status, answer = found
            if status in (200, 201):
                generation = answer["generation"]
                accepted[generation] = objectives
            elif status == 204:
                accepted[generation + 1] = None
                generation = 0
            elif status == 409:
                generation = answer["errors"][0].get("generation", generation)
            elif status == 404 and objectives is None:
                generation = 0
            else:
                self.ledger.unforeseen.append((status, answer))

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, Any] | None:
        """Status and answer; None when there was none, or it was 503."""
        try:
            status, answer = self.server.ask(method, path, self.cloud.member.token, body)
        except (OSError, http.client.HTTPException, ValueError):
            self.ledger.lost += 1
            self._stop.wait(_PAUSE_SECONDS)
            return None
        if status == 503:
            self.ledger.unavailable += 1
            self._stop.wait(_PAUSE_SECONDS)
            return None
        return status, answer

    def _report(self) -> None:
        """Minutes of the first instance, each until it is taken, and acknowledgements, as the agent does."""
        number = 0
        while not self._stop.is_set():
            start = self._first_minute + number * _MINUTE
            met = 1 + number % 59
            row = {"uuid": self._uuids[0], "metric": "cpu", "start": start, "counts": {"met": met}}
            self.cloud.clock.now = time.time()
            body = self.host.body(minutes=[row], states=self._states())
            while not self._stop.is_set():
                try:
                    status, answer = self.server.ask(
                        "POST", "/v1/hosts/host1/reports", "", body, headers=self.host.headers
                    )
                except (OSError, http.client.HTTPException, ValueError):
                    status, answer = 0, None
                if status == 200:
                    self.ledger.minutes[start] = met
                    break
                if status not in (0, 503):
                    self.ledger.unforeseen.append((status, answer))
                self._stop.wait(_PAUSE_SECONDS)
            number += 1
            self._stop.wait(_PAUSE_SECONDS)

    def _states(self) -> dict[str, Any]:
        try:
            status, found = self.server.ask("GET", "/v1/hosts/host1/intent", headers=self.host.headers)
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        slos = found["slos"] if status == 200 else {}
        return {name: {"revision": slo["revision"], "state": "enforced"} for name, slo in slos.items()}


def check(cloud: Cloud, ledger: Ledger) -> dict[str, int]:
    """Nothing that was answered is lost, nothing is half done on the host of the traffic; some figures are returned."""
    assert not ledger.unforeseen, ledger.unforeseen[:3]
    with cloud.database.reader() as session:
        host = hosts.find(session, "host1")
        assert host is not None
        rows = {instance.uuid: row for instance, row in _slos(session, host.id)}
        own = select(Instance.id).where(Instance.host_id == host.id)
        history_of = select(SloChange).where(SloChange.instance_id.in_(own))
        changes = session.scalars(history_of.order_by(SloChange.generation)).all()
        decided = session.scalars(select(DecisionRow).where(DecisionRow.instance_id.in_(own))).all()
        minutes = session.scalars(select(Minute).where(Minute.instance_id.in_(own))).all()
    reserved = sum(row.reserved_cpu_cores for row in rows.values())
    assert host.reserved_cpu_cores == pytest.approx(reserved), "the sum that the host carries"
    assert host.free_cpu_cores == pytest.approx((host.capacity_cpu_cores or 0) - reserved)
    assert host.intent_revision == 1 + len(changes), "the intent moves once with every change"
    assert host.intent_revision == max([1, *(row.revision for row in rows.values())])
    kinds = [d.kind for d in decided if d.kind in (decisions.SLO_ACCEPTED, decisions.SLO_WITHDRAWN)]
    assert len(kinds) == len(changes), "each change has its decision"
    for name, accepted in ledger.accepted.items():
        row = rows.get(name)
        history = {change.generation: change for change in changes if row and change.instance_id == row.instance_id}
        assert list(history) == list(range(1, (row.generation if row else 0) + 1)), "each change once, in its order"
        before = None
        for change in history.values():
            assert change.before == before, "each change begins where the one before ended"
            before = change.after
        assert row is None or row.objectives == before, "the SLO is what its history says"
        for generation, objectives in accepted.items():
            after = history[generation].after
            assert (wire.parse(after.encode()) if after else None) == objectives, "what was answered was kept"
    stored = {row.start: row.met_seconds for row in minutes}
    assert len(stored) == len(minutes), "each minute once"
    for start, met in ledger.minutes.items():
        assert stored[start] == met
    return {"changes": len(changes), "minutes": len(minutes), "lost": ledger.lost, "503": ledger.unavailable}


def _slos(session: Any, host_id: int) -> list[tuple[Instance, SloRow]]:
    query = select(Instance, SloRow).join(SloRow, SloRow.instance_id == Instance.id).where(Instance.host_id == host_id)
    return [(row[0], row[1]) for row in session.execute(query)]
