"""Steps with a check each: what is done already is not done again, and what can go on side by side does."""

import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from laboratory.settings import LaboratoryError

WORKERS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``run`` makes true what ``done`` tells; ``after`` are the names of the steps that must be done before."""

    name: str
    run: Callable[[], None]
    done: Callable[[], bool] = lambda: False
    after: tuple[str, ...] = ()

    def only_after(self, names: Collection[str]) -> "Step":
        """The same step where only those of ``names`` are still to be done."""
        return replace(self, after=tuple(name for name in self.after if name in names))


_lock = threading.Lock()


def say(text: str) -> None:
    """One line for the person who waits."""
    with _lock:
        print(text, flush=True)


def _take(step: Step) -> None:
    started = time.monotonic()
    done = step.done()
    if not done:
        step.run()
    say(f"  {step.name:<28} {'was done' if done else 'done    '} {time.monotonic() - started:6.1f} s")


def run(steps: Sequence[Step]) -> bool:
    """Run all; False when one failed. Steps that a failed one does not hold up still run, so that a later call has less to do."""
    waiting, finished = list(steps), set[str]()
    known = {step.name for step in steps}
    for step in steps:
        assert set(step.after) <= known, f"{step.name}: after {set(step.after) - known}"
    running: dict[Future[None], Step] = {}
    failed = False
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        while waiting or running:
            for step in [step for step in waiting if finished.issuperset(step.after)]:
                waiting.remove(step)
                running[pool.submit(_take, step)] = step
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                error = future.exception()
                if error is None:
                    finished.add(step.name)
                    continue
                failed = True
                say(f"  {step.name:<28} FAILED: {error}")
                if not isinstance(error, LaboratoryError | OSError):
                    sys.excepthook(type(error), error, error.__traceback__)
    return not failed
