"""`stella-api`: the REST service under gunicorn.

Exit codes: 0 stopped; 1 it failed; 2 wrong usage or configuration.
"""

import argparse
import os
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from gunicorn.app.base import BaseApplication
from oslo_config import cfg

import stella
from stella import conf
from stella.api.metrics_server import InvalidAddress, listen
from stella.api.worker import Limits
from stella.db import migrations
from stella.db.database import Database, Unreachable

USAGE = 2
_OTHER_FILES = 256


def settings(config: cfg.ConfigOpts) -> dict[str, Any]:
    """What gunicorn is told."""
    api = config.api
    host = f"[{api.bind_host}]" if ":" in api.bind_host else api.bind_host
    return {
        "bind": f"{host}:{api.bind_port}",
        "workers": api.workers,
        "threads": api.threads,
        "worker_class": "stella.api.worker.Worker",
        "worker_connections": api.connections,
        "timeout": api.request_timeout_seconds,
        "graceful_timeout": api.request_timeout_seconds,
        "keepalive": 75,
        "limit_request_line": 8190,
        "limit_request_fields": 64,
        "certfile": api.tls_certificate,
        "keyfile": api.tls_key,
        "proc_name": "stella-api",
        "control_socket_disable": True,
    }


def limits(config: cfg.ConfigOpts) -> Limits:
    """What each worker is told."""
    api = config.api
    return Limits(
        read_seconds=api.request_read_seconds,
        served_at_once=api.threads,
        connections_per_address=api.connections_per_address,
        largest_body_bytes=api.largest_body_bytes,
    )


def _allow_files(connections: int) -> None:
    """Raise how many files this process may open to what its connections need, as far as the system allows."""
    wanted = connections + _OTHER_FILES
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != allowed < wanted:
        possible = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, most))
    if resource.RLIM_INFINITY != most < wanted:
        print(f"stella-api: the system allows {most} open files; [api] connections needs {wanted}", file=sys.stderr)


def _measure(address: str | None, options: dict[str, Any]) -> socket.socket | None:
    """Make the socket for metrics, and the directory in which workers share them; None where there are to be none.

    An address that is taken does not keep the service from starting. Raises `InvalidAddress`.
    """
    if not address:
        return None
    try:
        listening = listen(address)
    except OSError as error:
        print(f"stella-api: no metrics: {address}: {error.strerror}", file=sys.stderr)
        return None
    directory = tempfile.mkdtemp(prefix="stella-api-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory

    def child_exit(_server: Any, worker: Any) -> None:
        from prometheus_client import multiprocess  # noqa: PLC0415  # see `_Service.load`

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # it has no types

    def on_exit(_server: Any) -> None:
        shutil.rmtree(directory, ignore_errors=True)

    options.update(child_exit=child_exit, on_exit=on_exit)
    return listening


class _Service(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with our configuration instead of its own. Each worker makes its own application, and so its own connections."""

    def __init__(
        self, options: dict[str, Any], limits: Limits, files: list[str] | None, metrics_socket: socket.socket | None
    ) -> None:
        self._options = options
        self._metrics_socket = metrics_socket
        self.limits = limits
        self._files = files
        super().__init__()

    def load_config(self) -> None:
        """Hand over the settings that this gunicorn knows."""
        for name, value in self._options.items():
            if name in self.cfg.settings and value is not None:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, in a worker."""
        # with it comes prometheus_client, which looks at the environment that `_measure` sets when it is imported
        from stella.api import wsgi  # noqa: PLC0415

        return wsgi.create(self._files, metrics_socket=self._metrics_socket)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="stella-api", description="Serve the REST API of Stella.")
    parser.add_argument("--version", action="version", version=stella.__version__)
    parser.add_argument(
        "--config-file", action="append", metavar="FILE", help=f"default {conf.DEFAULT_PATH}, if there is one"
    )
    parser.add_argument(
        "--sync", action="store_true", help="bring the database up to date first, as stella-manage db sync does"
    )
    given = parser.parse_args(arguments)
    try:
        config = conf.load(given.config_file, logging=False)
        database = Database(config.database.connection, connect_retries=config.database.connect_retries)
        if given.sync:
            migrations.sync(database)
        current, newest = migrations.current(database), migrations.newest(database)
        database.close()
    except conf.InvalidConfig as error:
        print(f"stella-api: {error}", file=sys.stderr)
        return USAGE
    except Unreachable as error:
        print(f"stella-api: the database cannot be reached: {error}", file=sys.stderr)
        return 1
    if current != newest:
        print(f"stella-api: the database has version {current or 'none'}; run stella-manage db sync", file=sys.stderr)
        return 1
    _allow_files(config.api.connections)
    options = settings(config)
    try:
        metrics_socket = _measure(config.api.metrics_bind, options)
    except InvalidAddress as error:
        print(f"stella-api: [api] metrics_bind: {error}", file=sys.stderr)
        return USAGE
    _Service(options, limits(config), given.config_file, metrics_socket).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
