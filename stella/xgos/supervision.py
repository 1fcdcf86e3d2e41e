"""Threads that may not die unnoticed: one that ends by an exception is logged, counted, and started again after a pause."""

import logging
import threading
from collections.abc import Callable, Mapping

_LOG = logging.getLogger(__name__)
PAUSE_SECONDS = 1.0

_lock = threading.Lock()
_restarts: dict[str, int] = {}


def restarts() -> Mapping[str, int]:
    """How often a thread of each name had to be started again since this process began; names without a restart are left out."""
    with _lock:
        return dict(_restarts)


def start(
    target: Callable[[], None], *, name: str, stop: threading.Event | None = None, pause_seconds: float = PAUSE_SECONDS
) -> threading.Thread:
    """Run ``target`` in a daemon thread until it returns. If it raises, run it again after ``pause_seconds``.

    Once ``stop`` is set it is not run again. ``target`` must be able to begin anew: what it keeps outside itself is still there.
    """
    stopped = stop or threading.Event()

    def run() -> None:
        while True:
            try:
                target()
            except Exception:
                _LOG.exception("thread %s failed; it is started again", name)
                with _lock:
                    _restarts[name] = _restarts.get(name, 0) + 1
                if stopped.wait(pause_seconds):
                    return
            else:
                return

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
