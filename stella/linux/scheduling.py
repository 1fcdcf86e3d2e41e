"""Scheduling policies of threads, as text that can be kept in a journal and set again.

The knob has no file: it is reached by sched_getscheduler(2) and sched_setscheduler(2). Only the fair policies are known here; a
thread of any other (real-time, deadline) is left alone.
"""

from stella.linux.cgroup import InvalidText

OTHER, BATCH = "other", "batch"
_RESET = "+reset-on-fork"
_NUMBERS = {OTHER: 0, BATCH: 3, "idle": 5}
_RESET_FLAG = 0x40000000
"""As in the kernel's include/uapi/linux/sched.h."""


def show_policy(number: int) -> str:
    """``other``, ``batch`` or ``idle``, with ``+reset-on-fork`` where threads that it starts begin as ``other``."""
    plain = number & ~_RESET_FLAG
    for name, known in _NUMBERS.items():
        if plain == known:
            return name + (_RESET if number != plain else "")
    raise InvalidText(f"no policy of the fair scheduler: {number}")


def parse_policy(text: str) -> int:
    """The number for sched_setscheduler(2)."""
    name = text.removesuffix(_RESET)
    if name not in _NUMBERS:
        raise InvalidText(f"no policy of the fair scheduler: {text[:40]!r}")
    return _NUMBERS[name] | (_RESET_FLAG if text.endswith(_RESET) else 0)


def plain(text: str) -> str:
    """The policy alone."""
    return text.removesuffix(_RESET)


BATCHING = BATCH + _RESET
"""What Stella sets: a thread that QEMU starts later must not inherit it unseen."""
