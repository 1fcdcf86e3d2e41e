"""Parallel clients that create servers, and the replay of each refusal.

A refusal is replayed as soon as it is seen: no client begins another create, those that are under way end, and then Placement and
Stella are asked which host would take such a server. Servers are only created meanwhile, so that room only becomes less. Where no host
has room then, all creates can be put into one order in which each refusal is right: those that overlapped with it, first. Where one
has room then, it had it when the refusal was given: that refusal was wrong.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stella.bench.scale.openstack import Failed
from stella.bench.scale.packing_audit import overbooked, with_room
from stella.bench.scale.packing_cloud import Flavor, PackingCloud

_WATCH_SECONDS = 1.0
_SAMPLE_SECONDS = 3.0
_SETTLE_SECONDS = 180.0
_OVERLAP = timedelta(seconds=15)
_NO_HOST = "No valid host"


@dataclass(slots=True)
class Seen:
    """What the run showed so far. ``placed`` is by uuid; ``refused`` by flavor; ``wrong`` has a line for each wrong refusal."""

    placed: dict[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    freezes: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    samples: int = 0
    over: list[str] = field(default_factory=list)
    seconds_until_active: list[float] = field(default_factory=list)


class Run:
    """One run of the clients."""

    def __init__(
        self, cloud: PackingCloud, wanted: Sequence[Flavor], *, clients: int, apart_seconds: float = 0.0
    ) -> None:
        """``wanted`` is the flavor of each server, in the order in which they are asked for, ``apart_seconds`` apart at least."""
        self._apart_seconds, self._due = apart_seconds, time.monotonic()
        self._cloud, self._wanted, self._clients = cloud, wanted, clients
        self._changed = threading.Condition()
        self._next = 0
        self._under_way = 0
        self._to_replay: list[Flavor] = []
        self._settled: dict[str, tuple[str, str, str]] = {}
        self._ended = threading.Event()
        self.seen = Seen()

    def run(self, tell: Callable[[int], None]) -> Seen:
        """Until every server is there, refused or failed; ``tell`` is called now and then with how many were asked for."""
        helpers = [self._start(self._watch), self._start(self._sample), self._start(self._replay)]
        clients = [self._start(self._client) for _ in range(self._clients)]
        try:
            while any(one.is_alive() for one in clients):
                time.sleep(0.5)
                tell(self._next)
            with self._changed:
                self._changed.wait_for(lambda: not self._to_replay, timeout=_SETTLE_SECONDS)
        finally:
            self._ended.set()
            with self._changed:
                self._next = len(self._wanted)
                self._changed.notify_all()
        for one in helpers:
            one.join()
        return self.seen

    @staticmethod
    def _start(work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    # --- clients

    def _client(self) -> None:
        while (taken := self._take()) is not None:
            number, due = taken
            self._ended.wait(max(0.0, due - time.monotonic()))
            flavor = self._wanted[number]
            try:
                self._create(number, flavor)
            finally:
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()

    def _take(self) -> tuple[int, float] | None:
        """The next server to ask for and when, once no refusal waits to be replayed; None: there is none."""
        with self._changed:
            self._changed.wait_for(lambda: not self._to_replay or self._ended.is_set())
            if self._next >= len(self._wanted):
                return None
            self._next += 1
            self._under_way += 1
            self._due = max(self._due + self._apart_seconds, time.monotonic())
            return self._next - 1, self._due

    def _create(self, number: int, flavor: Flavor) -> None:
        begun = time.monotonic()
        try:
            uuid = self._cloud.create(number, flavor)
        except Failed as error:
            self.seen.failed.append(str(error))
            return
        with self._changed:
            known = self._changed.wait_for(
                lambda: uuid in self._settled or self._ended.is_set(), timeout=_SETTLE_SECONDS
            )
            if not known or uuid not in self._settled:
                self.seen.failed.append(f"server {uuid} of {flavor.name} is not there after {_SETTLE_SECONDS:g} s")
                return
            status, host, fault = self._settled[uuid]
            if status == "ACTIVE":
                self.seen.placed[uuid] = host
                self.seen.seconds_until_active.append(time.monotonic() - begun)
            elif _NO_HOST in fault:
                self.seen.refused[flavor.name] += 1
                self._to_replay.append(flavor)
            else:
                self.seen.failed.append(f"server {uuid} of {flavor.name}: {status} {fault}")

    def _watch(self) -> None:
        since = datetime.now(UTC) - _OVERLAP
        while not self._ended.wait(_WATCH_SECONDS):
            asked = datetime.now(UTC)
            try:
                found = self._cloud.changed((since - _OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ"))
            except Failed:
                continue
            since = asked
            with self._changed:
                for one in found:
                    if one["status"] in ("ACTIVE", "ERROR"):
                        fault = " ".join(str(one.get("fault", {}).get("message", "")).split())[:200]
                        self._settled[one["id"]] = (one["status"], one.get("OS-EXT-SRV-ATTR:host") or "", fault)
                self._changed.notify_all()

    # --- checks

    def _replay(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: (self._to_replay and self._under_way == 0) or self._ended.is_set())
                if not self._to_replay:
                    return
                waiting = list(self._to_replay)
            lines = self._ask_again(waiting)
            with self._changed:
                self.seen.wrong += lines
                self.seen.replayed += len(waiting)
                self.seen.freezes += 1
                del self._to_replay[: len(waiting)]
                self._changed.notify_all()

    def _ask_again(self, refused: Sequence[Flavor]) -> list[str]:
        lines = []
        for flavor in {one.id: one for one in refused}.values():
            try:
                room = with_room(self._cloud.placement_candidates(flavor), self._cloud.stella_candidates(flavor))
            except Failed as error:
                lines.append(f"{flavor.name}: could not be replayed: {error}")
                continue
            if room:
                lines.append(f"{flavor.name} was refused, and {', '.join(room[:3])} had room")
        return lines

    def _sample(self) -> None:
        while not self._ended.is_set():
            try:
                self.seen.over += overbooked(self._cloud.ledgers(), self._cloud.stella_hosts())
                self.seen.samples += 1
            except Failed as error:
                self.seen.failed.append(f"a sample: {error}")
            self._ended.wait(_SAMPLE_SECONDS)


def per_host(placed: Mapping[str, str]) -> Mapping[str, int]:
    """How many servers each host got."""
    return dict(Counter(placed.values()))
