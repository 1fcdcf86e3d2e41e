"""Running one of ``stella-bench scale …``: in a temporary directory, its result printed and kept."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from stella.bench.progress import Progress
from stella.bench.scale import admission, document, host, link, load, packing, results, sla
from stella.bench.scale.fleet import Fleet
from stella.bench.scale.processes import NotStarted
from stella.bench.scale.results import Outcome

KEPT, SHORT, NOT_MEASURED = 0, 1, 3


def _load(given: argparse.Namespace, directory: Path, progress: Progress) -> Outcome:
    per_host = given.instances_per_host
    options = load.Options(
        fleet=Fleet(hosts=given.hosts, instances_per_host=per_host, guaranteed_per_host=per_host // 4),
        seconds=given.seconds,
        placement_venv=None if given.no_placement else given.placement_venv.absolute(),
    )
    return load.run(options, directory, progress)


def _link(given: argparse.Namespace, directory: Path, progress: Progress) -> Outcome:
    options = link.Options(hosts=given.hosts, changes=given.changes, sqlite=given.database == "sqlite")
    return link.run(options, directory, progress)


def _admission(given: argparse.Namespace, directory: Path, progress: Progress) -> Outcome:
    options = admission.Options(sizes=given.hosts, admissions=given.admissions, sqlite=given.database == "sqlite")
    return admission.run(options, directory, progress)


def _packing(given: argparse.Namespace, directory: Path, progress: Progress) -> Outcome:
    options = packing.Options(
        hosts=given.hosts,
        creates=given.creates,
        clients=given.clients,
        creates_per_second=given.creates_per_second,
        openrc=given.openrc,
    )
    return packing.run(options, directory, progress)


def _sla(given: argparse.Namespace, directory: Path, progress: Progress) -> Outcome:
    return sla.run(sla.Options(sizes=given.instances), directory, progress)


def _host(given: argparse.Namespace, directory: Path, progress: Progress) -> Outcome:
    return host.run(host.Options(instances=given.instances, seconds=given.seconds), directory, progress)


_FIGURES: Mapping[str, Callable[[argparse.Namespace, Path, Progress], Outcome]] = {
    "link": _link,
    "load": _load,
    "admission": _admission,
    "packing": _packing,
    "sla": _sla,
    "host": _host,
}


def run(given: argparse.Namespace, progress: Progress) -> int:
    """Measure one figure, print and keep it. Returns the exit status."""
    if given.figure == "document":
        return _document(given)
    machine = results.machine()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="stella-scale-", ignore_cleanup_errors=True) as directory:
            outcome = _FIGURES[given.figure](given, Path(directory), progress)
    except NotStarted as error:
        progress.close()
        print(f"stella-bench: not measured: {error}", file=sys.stderr)
        return NOT_MEASURED
    finally:
        signal.signal(signal.SIGTERM, before)
    progress.close()
    path = results.write(given.output, outcome, machine)
    print(path.with_suffix(".txt").read_text(), end="")
    print(f"\nkept in {path}")
    return KEPT if outcome.kept else SHORT


def _document(given: argparse.Namespace) -> int:
    try:
        written = document.write(given.page, given.output)
    except document.InvalidDocument as error:
        print(f"stella-bench: {error}", file=sys.stderr)
        return NOT_MEASURED
    print(f"{given.page}: {', '.join(written) or 'no results'}")
    return KEPT


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
