"""The message queue that carries Nova's notifications: whether an AMQP server answers at each address. Nobody logs in."""

import socket
from collections.abc import Sequence

from oslo_config import cfg

from stella.checks.facts import Broker, Notifications
from stella.conf.notifications import GROUP

_PORT = 5672
_SECONDS = 5.0
_GREETING = b"AMQP\x00\x00\x09\x01"
_START = b"\x00\x0a\x00\x0a"
"""Class 10, method 10: what a server of AMQP 0-9-1 sends first (specification, 1.4.2.1)."""


def gather(config: cfg.ConfigOpts) -> Notifications:
    """What ``[notifications]`` says, and who answers there."""
    own = config[GROUP]
    if not own.transport_url:
        return Notifications()
    found = [Broker(address=f"{host}:{port}", error=ask(host, port)) for host, port in addresses(own.transport_url)]
    return Notifications(topic=own.topic, exchange=own.exchange, brokers=found)


def addresses(url: str) -> Sequence[tuple[str, int]]:
    """Hosts and ports of oslo.messaging's ``rabbit://USER:PASSWORD@HOST:PORT,USER:PASSWORD@HOST:PORT/VHOST``."""
    found = []
    for each in url.partition("://")[2].partition("/")[0].split(","):
        address = each.rpartition("@")[2]
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal() and not host.endswith(":"):
            found.append((host.strip("[]"), int(port)))
        elif address:
            found.append((address.strip("[]"), _PORT))
    return found


def ask(host: str, port: int) -> str:
    """Empty where an AMQP server greets, else why not."""
    try:
        with socket.create_connection((host, port), timeout=_SECONDS) as connection:
            connection.settimeout(_SECONDS)
            connection.sendall(_GREETING)
            answer = connection.recv(11)
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return "" if answer[7:11] == _START else "it does not greet as AMQP does (does it want TLS?)"
