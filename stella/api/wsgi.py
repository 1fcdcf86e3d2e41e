"""For WSGI servers of the operator's own: ``stella.api.wsgi:application`` under uWSGI or mod_wsgi.

The configuration is ``$STELLA_CONFIG``, else the default path.
"""

import os
import socket
import time

from oslo_log import log

from stella import conf
from stella.api import metrics_server
from stella.api.app import Wsgi, build
from stella.api.metrics import HostCounts, Metrics, page
from stella.db import hosts
from stella.db.database import Database


def create(files: list[str] | None = None, *, metrics_socket: socket.socket | None = None) -> Wsgi:
    """The application from these configuration files (None: the default). Raises `stella.conf.InvalidConfig`.

    ``metrics_socket`` listens already; metrics are served on it.
    """
    config = conf.load(files)
    log.setup(config, "stella")
    database = Database(config.database.connection, connect_retries=config.database.connect_retries)
    metrics = Metrics()
    if metrics_socket is not None:

        def count_hosts() -> HostCounts:
            with database.reader() as session:
                return hosts.counts(session, silent_before=time.time() - config.link.silent_seconds)

        metrics_server.serve(metrics_socket, lambda: page(metrics, count_hosts))
    return build(config, database, metrics=metrics)


def __getattr__(name: str) -> Wsgi:
    """``application`` is made when a server asks for it: importing this module opens nothing."""
    if name != "application":
        raise AttributeError(name)
    path = os.environ.get("STELLA_CONFIG")
    globals()[name] = made = create([path] if path else None)
    return made
