"""Whether a move may begin now, for what was moved before. Each limit has its own sentence, which is told to operators."""

from collections.abc import Collection, Sequence

from stella.control.relief_view import OPEN, Kind, Limits, PastMove, State

_HOUR_SECONDS = 3600.0
_LARGEST_DOUBLINGS = 6


def too_many_silent(silent: int, hosts: int, limits: Limits) -> bool:
    """Whether so many hosts look dead at once that the fault is more likely ours than theirs. One alone never is."""
    return silent > max(1, int(hosts * limits.largest_silent_ratio))


def is_busy(host: str, past: Sequence[PastMove], limits: Limits, now: float) -> bool:
    """Whether an instance moves from or to this host, or did so a moment ago: what is missed now says nothing yet."""
    own = [move for move in past if host in (move.source, move.destination)]
    return any(
        move.state in OPEN or (move.state is State.DONE and now - _end(move) < limits.settle_seconds) for move in own
    )


def is_cloud_busy(past: Sequence[PastMove], limits: Limits) -> bool:
    """Whether as many moves are under way as may be at once."""
    return sum(move.state in OPEN for move in past) >= limits.largest_at_once


def cloud_refusal(past: Sequence[PastMove], limits: Limits, now: float) -> str:
    """Why no move may begin in the whole cloud; empty where one may."""
    if _began(past, now) >= limits.largest_of_cloud:
        return f"the cloud has had its {limits.largest_of_cloud} moves of this hour"
    return ""


def host_refusal(host: str, past: Sequence[PastMove], limits: Limits, now: float) -> str:
    """Why no move from or to this host may begin, one that is not busy; empty where one may."""
    own = [move for move in past if host in (move.source, move.destination)]
    if _began(own, now) >= limits.largest_of_host:
        return f"{host} has had its {limits.largest_of_host} moves of this hour"
    failed = sorted(_end(move) for move in own if move.state is State.FAILED and now - _end(move) < _HOUR_SECONDS)
    if failed:
        pause = _pause_seconds(len(failed), limits)
        if now - failed[-1] < pause:
            return f"{host} waits {pause:.0f} s after a move that failed"
    return ""


def resting(past: Sequence[PastMove], limits: Limits, now: float) -> frozenset[str]:
    """The instances whose evacuation failed so lately that it is not tried again yet."""
    failed: dict[str, list[float]] = {}
    for move in past:
        if move.kind is Kind.EVACUATION and move.state is State.FAILED:
            failed.setdefault(move.instance, []).append(_end(move))
    return frozenset(uuid for uuid, ends in failed.items() if now - max(ends) < _pause_seconds(len(ends), limits))


def _pause_seconds(failures: int, limits: Limits) -> float:
    return limits.back_off_seconds * 2.0 ** min(failures - 1, _LARGEST_DOUBLINGS)


def instance_refusal(instance: str, project: str, past: Sequence[PastMove], limits: Limits, now: float) -> str:
    """Why this instance may not be moved by relief now; empty where it may."""
    if any(move.instance == instance and now - (move.ended_at or now) < limits.hold_seconds for move in past):
        return f"it moved less than {limits.hold_seconds:.0f} s ago"
    if _began([move for move in past if move.project == project], now) >= limits.largest_of_project:
        return f"its project has had its {limits.largest_of_project} moves of this hour"
    return ""


def stopped(host: str, past: Sequence[PastMove], limits: Limits, now: float) -> str:
    """Why no further move from ``host`` is made: the last ones did not help; empty where moves go on."""
    own = [move for move in past if move.source == host]
    last = _measured(own)[-limits.stop_after :]
    if _all_in_vain(last, limits.stop_after) and now - _end(last[-1]) < limits.stop_seconds:
        return f"the last {len(last)} moves from {host} did not help"
    return ""


def cloud_stopped(past: Sequence[PastMove], limits: Limits, now: float) -> str:
    """Why no further move is made anywhere: the last twice as many as stop one host, from several hosts, did not help."""
    last = _measured(past)[-2 * limits.stop_after :]
    if len({move.source for move in last}) < 2:
        return ""
    if _all_in_vain(last, 2 * limits.stop_after) and now - _end(last[-1]) < limits.stop_seconds:
        return f"the last {len(last)} moves in the cloud did not help"
    return ""


def _measured(past: Collection[PastMove]) -> list[PastMove]:
    measured = [move for move in past if move.kind is Kind.RELIEF and move.helped is not None]
    return sorted(measured, key=lambda move: (_end(move), move.instance))


def _all_in_vain(last: Sequence[PastMove], count: int) -> bool:
    return count > 0 and len(last) >= count and not any(move.helped for move in last)


def _end(move: PastMove) -> float:
    return move.ended_at if move.ended_at is not None else move.began_at


def _began(past: Collection[PastMove], now: float) -> int:
    return sum(move.kind is Kind.RELIEF and now - move.began_at < _HOUR_SECONDS for move in past)
