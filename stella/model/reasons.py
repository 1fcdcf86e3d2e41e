"""Reasons: the sentences that Stella gives for a person, read back into codes with values, for pages in other languages.

What decides (admission on a host, stella-engine, the API) says why in one English sentence, and this sentence is what is kept in the
database and sent between releases. `read` finds the sentences of `CODES` in it, also one inside another ("does not fit on h1:
cpu.floor: the floors need ..."). What it does not know stays text: nothing is lost, and nothing is guessed. Codes are stable: they are
part of the API. Each producer's own test reads what it really says.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stella.model.slo import Metric

OTHER = "other"
"""A sentence that has no code; its value ``text`` is the sentence."""

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)"
_REST = r"(?P<rest>.+)"
_WITHDRAWN = rf"; its SLO is withdrawn, (?P<cores>{_NUMBER}) cores are free"

OF_EARLIER_RELEASES = frozenset({"no_network_shares", "no_latency_target"})
"""Codes of sentences that this release says no more; hosts of earlier ones do."""

CODES: Mapping[str, str] = {
    # admission
    "no_network_interface": r"the instance has no network interface",
    "no_disk": r"the instance has no disk",
    "few_vcpus": rf"the instance has (?P<vcpus>{_NUMBER}) vCPUs? and cannot use more cores than that",
    "ceiling_too_low": rf"the ceiling is below the (?P<cores>{_NUMBER}) cores of guest CPU that the floors need",
    "guest_cpu": rf"the guest would need (?P<cores>{_NUMBER}) cores of CPU for it and has (?P<vcpus>{_NUMBER}) vCPUs",
    "one_thread": (
        rf"QEMU's (?P<thread>main loop|iothread), one thread, serves the (?P<resources>[a-z ]+) floors and would need "
        rf"(?P<cores>{_NUMBER}) cores; at most (?P<largest>{_NUMBER}) can be guaranteed"
    ),
    "capacity": (
        rf"the floors need (?P<cores>{_NUMBER}) cores of CPU and (?:this|an empty) host has (?P<free>{_NUMBER}) cores left"
        r" to guarantee"
    ),
    "one_cpu": r"the floors need .+ on one CPU and no CPU of (?:this|an empty) host has so much left",
    "one_allowed_cpu": r"the floors need .+ on one CPU and none of the CPUs that the instance may use has so much left",
    # what a host can enforce
    "host_lacks": rf"this host lacks the capability (?P<capability>[a-z_]+): {_REST}",
    "not_reported": r"this host does not report it",
    "no_network_shares": r"this release does not (?:limit or share network traffic|share network traffic by weight)",
    "no_uplink": r"this host shares no uplink: .+",
    "uplink_room": r"the floors need .+ of the uplink .+ and it has .+ left to guarantee",
    "no_link_limits": r"this host cannot limit network traffic: .+",
    "received_floor": r"what comes in has passed the uplink before this host can hold it back: .+",
    "link_uplink_unknown": r"the uplink of its link (?P<link>\S+) is not known: .+",
    "link_not_limited": r"its link (?P<link>\S+) cannot be limited: .+",
    "no_block_shares": r"this host cannot limit disk traffic: .+|this release does not limit or share disk traffic",
    "no_latency_target": r"this release measures disk latency but does not enforce a target",
    "no_backend": r"this host shares no back end of disks: .+",
    "disk_not_limited": r"its disk (?P<disk>\S+) cannot be limited: .+",
    "disk_not_on_backend": r"none of its disks is on a back end that block_backends names",
    "backend_room": r"the floors need .+ of the back end .+ and it has .+ left to guarantee",
    "disk_limited": r"its disk (?P<disk>\S+) is limited to .+ by its flavor or an operator",
    "no_cpu_groups": r"this host has no CPU control group hierarchy that xgos can use",
    "no_cpu_quota": r"the CPU control groups of this host have no quota \(.+\)",
    "no_cpuset": r"this host has no cpuset control group hierarchy, so weights are less exact while it is full",
    # which host
    "host_mode_is": rf"the host (?:{_HOST} )?is in mode (?P<mode>[a-z]+)",
    "host_not_reported": rf"the host (?:{_HOST} )?has not reported its capacity yet",
    "host_cannot_enforce": rf"the host (?:{_HOST} )?cannot enforce {_REST}",
    "host_not_enrolled": r"the host is no longer enrolled",
    "host_silent": r"the host is silent",
    "host_unknown": r"Stella does not know this host",
    "does_not_fit_on": rf"does not fit on {_HOST}: {_REST}",
    "placement_room": (
        rf"Placement has room for (?P<free>{_NUMBER}) (?:of (?P<resource>[A-Z_]+)"
        rf"|.+ \((?P<class>[A-Z_]+)\) on this host, what the instance holds included)"
    ),
    "placement_elsewhere": r"Stella finds room here: Placement, or another of Nova's filters, does not",
    # what became of the instance
    "shut_off": r"the instance is shut off",
    "not_on_host": r"the instance is not on this host|is not running on this host",
    "gone": r"The instance is gone",
    "same_name": r"several instances of this host have the name (?P<name>.+); name its uuid in the SLO file instead",
    "costs_grew": rf"its floors cost more CPU than before, and this host lacks (?P<cores>{_NUMBER}) cores for them",
    "shelved": r"the server is shelved: it has no host",
    "contradicts_flavor": rf"what its flavor guarantees and what was added contradict one another: {_REST}",
    # what cannot be
    "above_ceiling": r"is above the ceiling",
    "other_direction": r"must be (?P<direction>[a-z]+), as what is guaranteed already",
    "beside_flavor": r"(?P<rest>.+), beside what the instance's flavor guarantees",
    "not_positive": r".+ must be greater than zero|must be greater than zero",
    "too_large": r".+ is too large|is more than Placement can count \(.+\)",
    # why no live points come
    "host_watched": r"As many instances of its host are watched as may be; try again later",
    "project_watched": rf"(?P<number>{_NUMBER}) other instances of the project are watched; no more may be",
    # what was done
    "reserved": rf"(?P<cores>{_NUMBER}) cores reserved",
    "of_flavor": rf"its flavor is (?P<flavor>.+?); (?P<cores>{_NUMBER}) cores reserved",
    "withdrawn": r"withdrawn by its owner",
    "added_withdrawn": r"what its owner had added is withdrawn; what its flavor sells stays suspended",
    "flavor_has_none": rf"its flavor (?P<flavor>.+?) guarantees nothing{_WITHDRAWN}",
    "server_deleted": rf"the server is deleted{_WITHDRAWN}",
    "gone_long": rf"gone from its host for (?P<seconds>{_NUMBER}) s{_WITHDRAWN}",
    "mode_changed": r"mode (?P<before>[a-z]+) -> (?P<after>[a-z]+)",
    "no_report": rf"no report for (?P<seconds>{_NUMBER}) s",
    "reports_again": rf"reports again, (?P<seconds>{_NUMBER}) s after the last report before",
    "no_candidate": rf"none of (?P<number>{_NUMBER}) hosts can take the instance(?:, such as {_HOST}: {_REST})?",
    "not_this_candidate": rf"the one host cannot take it(?:, such as {_HOST}: {_REST})?",
    "nova_found_none": rf"Nova found no host for (?P<uuid>[0-9a-fA-F-]+)(?:; {_HOST}: {_REST})?",
    "quota_changed": r"quota of project (?P<project>[^\s:]+): (?P<changes>.+)",
    "placement_short": (
        r"(?P<classes>[A-Z_, ]+): Placement has no room for all that the SLO of (?P<uuid>[0-9a-fA-F-]+) has in force;"
        r" what fits is held"
    ),
    "placement_over": (
        r"(?P<classes>[A-Z_, ]+): more is allocated in Placement than the host has; the total stays at what is allocated"
    ),
    # why an instance is to leave its host, or why nothing moves
    "to_move": r"the instance is to move to another host",
    "host_dead": r"the host of the instance is dead",
    "own_floor_missed": rf"its own floor is missed on {_HOST}; {_REST}",
    "other_floor_missed": rf"the floor of another instance is missed on {_HOST}; {_REST}",
    "floors_missed": rf"the floors of (?P<number>{_NUMBER}) instances are missed on {_HOST}; {_REST}",
    "move_frees": rf"moving it to {_HOST} frees (?P<cores>{_NUMBER}) cores",
    "move_frees_part": rf"moving it to {_HOST} frees (?P<cores>{_NUMBER}) cores, which is not all that is lacking",
    "many_silent": (
        rf"(?P<number>{_NUMBER}) of (?P<hosts>{_NUMBER}) hosts are silent at once: nothing is (?:moved|evacuated)"
    ),
    "no_host_for_move": r"no other host can take an instance that would help",
    "no_move_worth": rf"no move would end (?P<seconds>{_NUMBER}) violated seconds an hour",
    "kept_from_moving": rf"the instances that would help may not be moved: {_REST}",
    "none_helps": r"no instance on the host would help by leaving it",
    "opted_out": r"it is opted out of relief",
    "state_is": r"it is (?P<state>[a-z_]+)",
    "status_is": r"its status is (?P<status>[A-Za-z_]+)",
    "moved_lately": rf"it moved less than (?P<seconds>{_NUMBER}) s ago",
    "project_moves": rf"its project has had its (?P<number>{_NUMBER}) moves of this hour",
    "cloud_moves": rf"the cloud has had its (?P<number>{_NUMBER}) moves of this hour",
    "host_moves": rf"{_HOST} has had its (?P<number>{_NUMBER}) moves of this hour",
    "host_waits": rf"{_HOST} waits (?P<seconds>{_NUMBER}) s after a move that failed",
    "moves_in_vain": rf"the last (?P<number>{_NUMBER}) moves from {_HOST} did not help",
    "cloud_moves_in_vain": rf"the last (?P<number>{_NUMBER}) moves in the cloud did not help",
    # dead hosts, and places kept for the loss of one
    "not_fenced": (
        rf"{_HOST} is silent for (?P<seconds>{_NUMBER}) s and not fenced: (?P<number>{_NUMBER}) instances with an SLO wait"
    ),
    "fenced_not_down": (
        rf"{_HOST} is silent for (?P<seconds>{_NUMBER}) s and fenced, and the cloud does not call it down yet"
    ),
    "dead_and_fenced": rf"{_HOST} is dead and fenced",
    "no_other_host": r"no other host can take it",
    "fenced": r"fenced",
    "not_fenced_any_more": r"not fenced any more",
    "fencing_succeeded": rf"the fencing command succeeded: {_REST}",
    "fencing_failed": rf"the fencing command failed: {_REST}",
    "no_failover_place": r"no other host could take its SLO should its host be lost",
    "has_failover_place": r"another host keeps a place for its SLO should its host be lost",
    "relief_mode_changed": r"relief (?P<relief_before>[a-z ]+) -> (?P<relief_after>[a-z ]+)",
    # what became of a move
    "cloud_refuses": rf"the cloud refuses: {_REST}",
    "status_now": r"the instance is (?P<status>[A-Z_]+) now",
    "status_error": r"the instance is in status ERROR",
    "went_nowhere": r"the instance went to no host",
    "went_elsewhere": rf"the instance went to {_HOST}",
    "migration_ended": r"the cloud calls the (?P<migration>[a-z-]+) (?P<status>[a-z]+)",
    "not_begun": rf"the cloud did not begin it within (?P<seconds>{_NUMBER}) s",
}
"""Each code with the sentence that it stands for. ``rest`` is another sentence, ``host`` the name of a host, all else are values."""

_NUMBERS = ("vcpus", "cores", "free", "largest", "number", "hosts", "seconds")
_PATTERNS = tuple((code, re.compile(pattern)) for code, pattern in CODES.items())
_METRICS = "|".join(metric.value for metric in Metric)
_KEYS = "floor|ceiling|target|weight|unit|direction|priority"
_FIELD = re.compile(
    rf"(?:objectives\.)?(?P<field>(?:{_METRICS})(?:\.(?:{_KEYS}))?|objectives|instance|slo): (?P<rest>.+)"
)
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence. ``values`` are what stands in it; ``field``, where it has one, is the key of the SLO that it is about."""

    code: str
    values: Mapping[str, str | float] = field(default_factory=dict)


def read(text: str) -> tuple[Reason, ...]:
    """The sentences of a reason, the outermost first; empty where none is known. What is not known is `OTHER`."""
    found = tuple(reason for reason, _ in _walk(text))
    return () if all(one.code == OTHER for one in found) else found


def without_hosts(text: str, *names: str) -> str:
    """The reason as it is told to those who may not know hosts: without their names, and without those of ``names``."""
    spans = sorted(span for _, span in _walk(text) if span is not None)
    for start, end in reversed(spans):
        text = _hidden(text, start, end)
    for name in names:
        if name:
            whole = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)")
            for match in reversed(list(whole.finditer(text))):
                text = _hidden(text, *match.span())
    return text


def _hidden(text: str, start: int, end: int) -> str:
    before, after = text[:start], text[end:]
    return f"{before.rstrip()}{after}" if before.endswith("the host ") else f"{before}its host{after}"


def _walk(text: str) -> Iterator[tuple[Reason, tuple[int, int] | None]]:
    """Sentences, each with where in ``text`` it names a host."""
    at, end, about = 0, len(text), ""
    if end > _LONGEST:
        return
    while end > at and text[end - 1] in ". \n":
        end -= 1
    while at < end:
        match = _FIELD.fullmatch(text, at, end)
        if match is not None:
            about, at = match["field"], match.start("rest")
            continue
        code, match = _first(text, at, end)
        if match is None:
            yield _reason(OTHER, {"text": text[at:end]}, about), None
            return
        values = {name: value for name, value in match.groupdict().items() if value is not None and name != "rest"}
        yield _reason(code, values, about), match.span("host") if "host" in values else None
        if "rest" not in match.groupdict() or match["rest"] is None:
            return
        at, end = match.span("rest")


def _first(text: str, at: int, end: int) -> tuple[str, re.Match[str] | None]:
    for code, pattern in _PATTERNS:
        match = pattern.fullmatch(text, at, end)
        if match is not None:
            return code, match
    return OTHER, None


def _reason(code: str, values: Mapping[str, str], about: str) -> Reason:
    shown: dict[str, str | float] = {
        name: float(value) if name in _NUMBERS else value for name, value in values.items()
    }
    return Reason(code, {"field": about, **shown} if about else shown)
