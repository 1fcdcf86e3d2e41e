"""Nova's versioned notifications, as hints: which servers to look at now. Only importer of oslo.messaging.

Nothing is concluded from what a notification says, or from none: one may be lost, late, repeated or forged. RabbitMQ may be away for
any time; meanwhile, and without it, servers are found by asking Nova.

oslo.messaging connects, and connects again, in threads of its own, and has no end to wait for while RabbitMQ is away: so it is started
and stopped by a thread that nobody waits for. What it logs while it tries again and again is let through once in a while.
"""

import logging
import re
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from oslo_config import cfg

from stella.conf import InvalidConfig

_LOG = logging.getLogger(__name__)
LARGEST_HINTS = 10_000
_REPEATED_SECONDS = 300.0
_AGAIN_SECONDS = 5.0
_LOOK_SECONDS = 5.0
_NO_HOST = tuple(f"compute_task.{task}.error" for task in ("build_instances", "migrate_server", "rebuild_server"))
_LOGGERS = ("oslo_messaging", "oslo.messaging", "amqp", "kombu")
_VARYING = re.compile(r"\[[0-9a-f-]{36}\]|[0-9]+")
_URL = "[notifications] transport_url"
_EXAMPLE = "such as rabbit://USER:PASSWORD@HOST:5672/"


class Hints:
    """Servers to look at, each once, the oldest first. Several threads may use it."""

    def __init__(self, *, largest: int = LARGEST_HINTS) -> None:
        """None yet. More than ``largest`` are not kept: what is left out is found by asking Nova for all that changed."""
        self._uuids: dict[str, None] = {}
        self._largest = largest
        self._lock = threading.Lock()

    def add(self, uuid: str) -> None:
        """Note that something happened to this server."""
        with self._lock:
            if len(self._uuids) < self._largest:
                self._uuids[uuid] = None

    def take(self, largest: int) -> list[str]:
        """Up to ``largest`` of them, which are forgotten."""
        with self._lock:
            taken = list(self._uuids)[:largest]
            for uuid in taken:
                del self._uuids[uuid]
            return taken

    def __len__(self) -> int:
        """How many there are."""
        return len(self._uuids)


def server_in(event_type: str, payload: object) -> str | None:
    """The uuid of the server that a versioned notification is about; None for others, and for the start of an action."""
    if not event_type.startswith("instance.") or event_type.endswith((".start", ".exists")):
        return None
    return _uuid(payload, "uuid")


def unplaced_in(event_type: str, payload: object) -> str | None:
    """The uuid of a server that could not be built or moved, as when no host was found; None for other notifications."""
    return _uuid(payload, "instance_uuid") if event_type in _NO_HOST else None


def _uuid(payload: object, key: str) -> str | None:
    data = payload.get("nova_object.data") if isinstance(payload, Mapping) else None
    uuid = data.get(key) if isinstance(data, Mapping) else None
    try:
        return str(UUID(uuid)) if isinstance(uuid, str) else None
    except ValueError:
        return None


class _Endpoint:
    """What oslo.messaging calls; errors are told at a priority of their own."""

    def __init__(self, hints: Hints, unplaced: Hints) -> None:
        self._hints, self._unplaced = hints, unplaced

    def info(self, context: object, publisher_id: str, event_type: str, payload: object, metadata: object) -> None:
        """Take a hint."""
        uuid = server_in(event_type, payload)
        if uuid is not None:
            self._hints.add(uuid)
        unplaced = unplaced_in(event_type, payload)
        if unplaced is not None:
            self._unplaced.add(unplaced)

    error = info


class SeldomRepeated(logging.Filter):
    """Lets a message through once in `_REPEATED_SECONDS`, whatever the figures in it. Those of DEBUG never: they name what is sent."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._monotonic = monotonic
        self._said: deque[tuple[str, float]] = deque(maxlen=50)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is let through."""
        if record.levelno <= logging.DEBUG:
            return False
        text, now = _VARYING.sub("#", record.getMessage()), self._monotonic()
        if any(said == text and now - at < _REPEATED_SECONDS for said, at in self._said):
            return False
        self._said.append((text, now))
        return True


def _quieten() -> None:
    """A filter of a logger is not asked for what its children log, so each that there is gets it."""
    seldom = SeldomRepeated()
    names = [name for name in logging.Logger.manager.loggerDict if name.startswith(_LOGGERS)]
    for name in (*_LOGGERS, *names):
        logger = logging.getLogger(name)
        if not any(isinstance(one, SeldomRepeated) for one in logger.filters):
            logger.addFilter(seldom)


def messaging() -> Any:
    """The module oslo_messaging, imported so that it uses threads. Raises `InvalidConfig` where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of eventlet, which it imports and does not use here
            from oslo_service import backend  # noqa: PLC0415  # only where notifications are listened to

            backend.init_backend(backend.BackendType.THREADING)  # before anything else of it is imported
            import oslo_messaging  # noqa: PLC0415
    except ImportError:
        raise InvalidConfig(f'{_URL} needs oslo.messaging: pip install "stella[notifications]"') from None
    return oslo_messaging


class Listener:
    """Listens between `start` and `stop`, which return at once and may be called again and again."""

    def __init__(self, config: cfg.ConfigOpts, hints: Hints, unplaced: Hints | None = None) -> None:
        """Nothing is connected yet; ``unplaced`` is for servers that could not be built or moved.

        Raises `InvalidConfig`, which names no part of the URL.
        """
        oslo_messaging = messaging()
        url = config.notifications.transport_url
        try:
            transport = oslo_messaging.get_notification_transport(config, url=url)
            passwords = [
                host.password for host in oslo_messaging.TransportURL.parse(config, url).hosts if host.password
            ]
        except (oslo_messaging.exceptions.MessagingException, ValueError):  # their texts have the URL
            raise InvalidConfig(f"{_URL} cannot be used; it needs {_EXAMPLE}") from None
        if any("/" in password for password in passwords):
            raise InvalidConfig(f"{_URL} has a password with a /, which oslo.messaging cannot use")
        target = oslo_messaging.Target(topic=config.notifications.topic, exchange=config.notifications.exchange)
        endpoint = _Endpoint(hints, unplaced if unplaced is not None else Hints())
        self._make: Callable[[], Any] = lambda: oslo_messaging.get_notification_listener(
            transport, [target], [endpoint], executor="threading"
        )
        self._secrets = [url, *passwords]
        self._wanted, self._unwanted = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._said = ""
        _quieten()

    def start(self) -> None:
        """Listen from now on, as soon as that is possible."""
        self._unwanted.clear()
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_listening, name="notifications", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._wanted.clear()
        self._unwanted.set()

    def _keep_listening(self) -> None:
        while True:
            self._wanted.wait()
            try:
                self._listen()
            except Exception as error:  # of oslo.messaging, kombu, amqp or the network: all of them are waited out
                self._say(" ".join(str(error).split()))
                self._unwanted.wait(_AGAIN_SECONDS)

    def _listen(self) -> None:
        server = self._make()
        server.start(override_pool_size=1)  # returns when it is connected
        try:
            _LOG.info("listens to Nova's notifications")
            self._said = ""
            while not self._unwanted.wait(_LOOK_SECONDS):
                if not _is_alive(server):
                    raise RuntimeError("the listening thread ended")
        finally:
            server.stop()
            server.wait()

    def _say(self, text: str) -> None:
        """Log why nothing is listened to, once."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        if text != self._said:
            self._said = text
            _LOG.warning("Nova's notifications are not listened to: %s", text[:300])


def _is_alive(server: Any) -> bool:
    """Whether the thread of oslo.messaging that reads goes on; it has no other way to say so."""
    thread = getattr(server.listener, "_listen_thread", None)
    return thread is None or bool(thread.is_alive())
