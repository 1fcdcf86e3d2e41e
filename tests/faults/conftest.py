"""What dies here: processes and databases. The cloud is that of the functional tests."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.linked import Linked, linked_host
from tests.functional.conftest import Cloud, cloud, mariadb_socket
from tests.functional.process import Server

__all__ = ["cloud", "mariadb_socket"]


@pytest.fixture
def linked(cloud: Cloud) -> Iterator[Linked]:
    """A host with SLOs in force under an API."""
    cloud.clock.now = time.time()
    server = Server(cloud.config_path)
    server.start()
    try:
        with linked_host(cloud, server) as made:
            yield made
    finally:
        server.stop(signal.SIGTERM)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Keeps how long something took, in seconds, for the table of `python -m tests.faults`."""

    def keep(what: str, seconds: float) -> None:
        record_property("measured", f"{what} {seconds:.1f} s")
        print(f"{what}: {seconds:.2f} s")

    return keep
