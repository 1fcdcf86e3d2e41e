"""Puts back what the journal holds: all of it at release, the temporary restraints when the guard or a successor lifts them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stella.model.target import Target
from stella.xgos.actuation.actuators import Actuators, Delayed, lifting
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.journal_text import Entry
from stella.xgos.host_files import Gone, InstanceGone, Unavailable, Unsupported, WriteFailed

_SETTLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of one entry: ``error`` is empty when the knob holds ``value``, or no longer exists.

    ``value`` is its original or, while a restraint is only lifted, what `lifting` tells. ``changed``: it held something else before.
    """

    target: Target
    value: str
    error: str = ""
    gone: bool = False
    changed: bool = False


def restore(actuators: Actuators, entries: Iterable[Entry], *, temporary_only: bool = False) -> tuple[Restored, ...]:
    """Give knobs their original text back, the last written first. Those of another object of the same name are left alone.

    Idempotent. What fails is tried once more at the end: under cgroup v1 a quota may depend on its period, or on a parent's. With
    ``temporary_only`` a ceiling that was asked for is left. What takes a while (QEMU's throttles) is waited for, at most 2 s in all.
    """
    todo = [e for e in reversed(tuple(entries)) if e.original is not None and (e.temporary or not temporary_only)]
    todo.sort(
        key=lambda e: isinstance(actuators.get(e.target.kind), Delayed)
    )  # a hypervisor that hangs holds nothing else up
    done = [_restore_one(actuators, entry, exactly=not temporary_only) for entry in todo]
    for n, (entry, result) in enumerate(zip(todo, done, strict=True)):
        if result.error:
            done[n] = _restore_one(actuators, entry, exactly=not temporary_only)
    until = time.monotonic() + _SETTLE_SECONDS
    return tuple(_settled(actuators, result, until) for result in done)


def _settled(actuators: Actuators, result: Restored, until_seconds: float) -> Restored:
    actuator = actuators[result.target.kind]
    if result.error or result.gone or not isinstance(actuator, Delayed):
        return result
    try:
        actuator.settle(result.target, until_seconds)
    except (Gone, InstanceGone, Unsupported):
        return replace(result, gone=True)
    except (Unavailable, WriteFailed) as error:
        return replace(result, error=str(error))
    return result


def _restore_one(actuators: Actuators, entry: Entry, *, exactly: bool) -> Restored:
    """``exactly``: the original itself, also where the guard had lifted the restraint by something else, such as a ceiling."""
    value, target, changed = entry.original or "", entry.target, False
    actuator = actuators[target.kind]
    try:
        if actuator.identity(target) != entry.identity:
            return Restored(target=target, value=value, gone=True)
        lifted = lifting(actuator, target, entry.leaves or "")
        value = value if exactly else lifted
        now = actuator.read(target)
        if now != value and (not entry.lifted or now == lifted):
            actuator.write(target, value, entry.identity)
            changed = True
    except (Gone, InstanceGone, Unsupported):
        return Restored(target=target, value=value, gone=True)
    except (Unavailable, WriteFailed) as error:
        return Restored(target=target, value=value, error=str(error))
    return Restored(target=target, value=value, changed=changed)


def release(actuators: Actuators, journal: Journal, *, made: bool = True) -> tuple[Restored, ...]:
    """Restore every knob, then (with ``made``) remove what Stella made. What succeeded leaves the journal: it can be called again."""
    results = list(restore(actuators, journal.entries))
    for entry in reversed(journal.entries):
        if made and entry.original is None:
            results.append(_remove(actuators, entry.target))
    journal.forget(result.target for result in results if not result.error)
    return tuple(results)


def _remove(actuators: Actuators, target: Target) -> Restored:
    try:
        actuators[target.kind].remove(target)
    except (WriteFailed, Unsupported, InstanceGone) as error:
        return Restored(target=target, value="", error=str(error))
    return Restored(target=target, value="", changed=True)
