"""For WSGI servers of the operator's own: ``stella.api.wsgi:application`` under uWSGI or mod_wsgi.

The configuration is ``$STELLA_CONFIG``, else the default path.
"""

import os

from oslo_log import log

from stella import conf
from stella.api.app import Wsgi, build
from stella.db.database import Database


def create(files: list[str] | None = None) -> Wsgi:
    """The application from these configuration files (None: the default). Raises `stella.conf.InvalidConfig`."""
    config = conf.load(files)
    log.setup(config, "stella")
    database = Database(config.database.connection, connect_retries=config.database.connect_retries)
    return build(config, database)


def __getattr__(name: str) -> Wsgi:
    """``application`` is made when a server asks for it: importing this module opens nothing."""
    if name != "application":
        raise AttributeError(name)
    path = os.environ.get("STELLA_CONFIG")
    globals()[name] = made = create([path] if path else None)
    return made
