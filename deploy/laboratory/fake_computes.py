"""Runs many nova-computes with a fake driver from one process: Nova is loaded once, then there is a process for each host.

    python -m laboratory.fake_computes FIRST LAST DIRECTORY OPTION...        with the Python that Nova is installed in

Host N reads the configuration that ``OPTION...`` name, and then DIRECTORY/fakeN.conf.
"""

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PREFIX = "fake"
DRIVER = "laboratory.Driver"
"""Nova looks for drivers below ``nova.virt`` alone; there `_load_nova` puts the one of `laboratory.fake_driver`."""

_STAGGER_SECONDS = 0.3
_STOP_SECONDS = 6.0


def _load_nova() -> Any:
    """Load all that a nova-compute needs, while there is one process and no thread; the module of its command."""
    import nova.cmd.compute as command  # noqa: PLC0415 - Nova is not where the laboratory is tested
    import nova.compute.manager  # noqa: PLC0415
    import nova.virt  # noqa: PLC0415
    from nova import objects  # noqa: PLC0415

    from laboratory import fake_driver  # noqa: PLC0415

    objects.register_all()
    sys.modules["nova.virt.laboratory"] = nova.virt.laboratory = fake_driver
    gc.collect()
    gc.freeze()  # what is loaded stays shared by the processes: no collection touches it
    return command


class Hosts:
    """The processes, by number of the host."""

    def __init__(self, run: Callable[[int], int]) -> None:
        self._run = run
        self._numbers: dict[int, int] = {}
        self._stopping = False

    def stop(self, *_: object) -> None:
        """End `keep`; for a signal."""
        self._stopping = True

    def keep(self, numbers: range) -> None:
        """Start them all, and again each that ends, until `stop`; then end them."""
        for number in numbers:
            if not self._stopping:
                self._start(number)
                time.sleep(_STAGGER_SECONDS)
        while not self._stopping:
            child, _ = os.waitpid(-1, os.WNOHANG)
            if child:
                time.sleep(1.0)
                self._start(self._numbers.pop(child))
            else:
                time.sleep(0.5)
        self._end()

    def _start(self, number: int) -> None:
        child = os.fork()
        if child == 0:
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, signal.SIG_DFL)
            os._exit(self._run(number))
        self._numbers[child] = number

    def _end(self) -> None:
        for name, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            for child in self._numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, name)
            limit = time.monotonic() + seconds
            while self._numbers and time.monotonic() < limit:
                child, _ = os.waitpid(-1, os.WNOHANG)
                self._numbers.pop(child, None)
                time.sleep(0.0 if child else 0.05)


class Run:
    """What one process does: nova-compute, until it ends."""

    def __init__(self, command: Any, directory: Path, options: list[str]) -> None:
        self._command, self._directory, self._options = command, directory, options

    def __call__(self, number: int) -> int:
        """The exit status."""
        sys.argv = ["nova-compute", *self._options, "--config-file", str(self._directory / f"{PREFIX}{number}.conf")]
        try:
            self._command.main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
            return 1
        return 0


def main(arguments: list[str]) -> int:
    """Run the hosts until SIGTERM."""
    first, last, directory, options = int(arguments[0]), int(arguments[1]), Path(arguments[2]), arguments[3:]
    hosts = Hosts(Run(_load_nova(), directory, options))
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, hosts.stop)
    hosts.keep(range(first, last + 1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
