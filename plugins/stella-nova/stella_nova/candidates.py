"""What Stella says of hosts: one call for a scheduling request, kept for the filter and the weigher together.

Stella may be down, slow or wrong: then there is no answer (None), and for a while it is not asked again. Placement still holds what
flavors have sold, so that passing hosts on without Stella overbooks nothing of that.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

LARGEST_HOSTS = 1000
"""As many as Stella takes in one call; more are asked for in several."""

_KEPT_SECONDS = 10.0
_KEPT_REQUESTS = 256
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What Stella says of one host. ``reason`` says why the SLO does not fit."""

    fits: bool
    reason: str = ""
    head_room_ratio: float | None = None
    attainment_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Where an instance with such a flavor could go. ``instance`` is its uuid, None where several are to be created at once.

    Without ``extra_specs`` the question is about what the instance's user has set alone.
    """

    extra_specs: tuple[tuple[str, str], ...]
    vcpus: int
    instance: str | None = None

    def body(self, hosts: Sequence[str], *, whole: bool) -> dict[str, Any]:
        """The request's body. ``whole``: these are all hosts, so that Stella may note that none fits."""
        asked: dict[str, Any] = {"vcpus": self.vcpus, "hosts": list(hosts), "record": whole}
        if self.extra_specs:
            asked["extra_specs"] = dict(self.extra_specs)
        return asked if self.instance is None else {**asked, "instance": self.instance}


class Unanswered(Exception):
    """Stella did not answer; the message is one line."""


class Refused(Exception):
    """Stella says that no host can hold such an SLO, whatever else is there: the flavor's extra specs contradict one another."""


class Transport(Protocol):
    """How Stella is asked."""

    def candidates(self, body: Mapping[str, Any]) -> Any:
        """The decoded answer of ``POST /v1/candidates``. Raises `Unanswered` or `Refused`."""


Answer = Mapping[str, Candidate] | None
"""By host; None: Stella did not answer."""


@dataclass(slots=True)
class _Kept:
    at: float
    answer: Answer
    hosts: frozenset[str] = field(default_factory=frozenset)


def read(decoded: Any) -> dict[str, Candidate]:
    """Stella's answer by host. Raises `Unanswered` where it is none."""
    try:
        return {str(one["host"]): _candidate(one) for one in decoded["candidates"]}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unanswered("the answer is not that of stella-api") from None


def _candidate(one: Mapping[str, Any]) -> Candidate:
    if not isinstance(one["fits"], bool):
        raise ValueError
    return Candidate(
        fits=one["fits"],
        reason=" ".join(str(one.get("reason") or "").split())[:300],
        head_room_ratio=_ratio(one.get("head_room_ratio")),
        attainment_ratio=_ratio(one.get("attainment_ratio")),
    )


def _ratio(value: Any) -> float | None:
    return None if value is None else min(1.0, max(0.0, float(value)))


class Candidates:
    """Asks, and keeps the answers of the last requests for some seconds. May be used by any thread."""

    def __init__(
        self,
        transport: Transport,
        *,
        retry_seconds: float,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._retry_seconds = retry_seconds
        self._warn = warn
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, Question], _Kept] = OrderedDict()
        self._failed_at = float("-inf")

    def find(self, request_id: str, question: Question, hosts: Iterable[str]) -> Answer:
        """What Stella says of ``hosts``; one that it does not know, or whose name it cannot be, does not fit. None: no answer.

        Asked again by the same request about hosts that it asked about before, the answer is the one given then.
        """
        names, key = frozenset(hosts), (request_id, question)
        with self._lock:
            kept, now = self._kept.get(key), self._clock()
            if kept is not None and now - kept.at < _KEPT_SECONDS and names <= kept.hosts:
                return kept.answer
            if now - self._failed_at < self._retry_seconds:
                return None
        answer = self._ask(question, names)
        with self._lock:
            if answer is None:
                self._failed_at = self._clock()
            self._kept[key] = _Kept(at=self._clock(), answer=answer, hosts=names)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT_REQUESTS:
                self._kept.popitem(last=False)
        return answer

    def _ask(self, question: Question, names: frozenset[str]) -> Answer:
        askable = sorted(name for name in names if _HOST_NAME.fullmatch(name))
        found: dict[str, Candidate] = {}
        try:
            for first in range(0, len(askable), LARGEST_HOSTS):
                body = question.body(askable[first : first + LARGEST_HOSTS], whole=len(askable) <= LARGEST_HOSTS)
                found |= read(self._transport.candidates(body))
        except Unanswered as error:
            self._warn(
                f"Stella did not answer, so it decides on no host for {self._retry_seconds:g} s: {error}. "
                "Placement alone guards what flavors have sold."
            )
            return None
        except Refused as error:
            self._warn(f"Stella refuses the flavor's extra specs on every host: {error}")
            return {name: Candidate(fits=False, reason=str(error)) for name in names}
        unknown = Candidate(fits=False, reason="Stella does not know this host")
        return {name: found.get(name, unknown) for name in names}
