"""The engine's own Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from stella.engine.duty import Outcome

_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class InvalidAddress(Exception):
    """An address to listen on that cannot be used; the message names the option."""


class Metrics:
    """What the engine did since it started."""

    def __init__(self) -> None:
        """All zero."""
        self.registry = CollectorRegistry()
        registry = self.registry
        self.leader = Gauge(
            "stella_engine_leader", "1 while this engine leads, 0 while it stands by.", registry=registry
        )
        self.takeovers = Counter(
            "stella_engine_takeovers", "How often this engine became the leader.", registry=registry
        )
        labels = ["duty"]
        self._seconds = Histogram(
            "stella_engine_duty_seconds",
            "Seconds that runs of a duty took.",
            labels,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "stella_engine_duty_failures", "Runs of a duty that failed.", labels, registry=registry
        )
        self._changes = Counter("stella_engine_duty_changes", "Rows that a duty changed.", labels, registry=registry)
        self._success = Gauge(
            "stella_engine_duty_last_success_timestamp_seconds",
            "When a duty last ran through (Unix seconds).",
            labels,
            registry=registry,
        )
        self._backlog = Gauge(
            "stella_engine_duty_backlog",
            "Rows that wait for a duty (at most 10 000 are counted).",
            labels,
            registry=registry,
        )
        self._hosts = Gauge(
            "stella_engine_hosts",
            "Hosts by what an operator should look at: relief_stopped (moves from them did not help, so none is made), dead (silent, "
            "with instances that have an SLO), too_many_silent (more than may be at once: nothing is moved, fenced or evacuated).",
            ["state"],
            registry=registry,
        )

    def succeeded(self, duty: str, seconds: float, outcome: Outcome, now: float) -> None:
        """A run of this duty ended; ``now`` in Unix seconds."""
        self._seconds.labels(duty).observe(seconds)
        self._changes.labels(duty).inc(outcome.changed)
        self._success.labels(duty).set(now)
        if outcome.backlog is not None:
            self._backlog.labels(duty).set(outcome.backlog)
        for state, count in outcome.hosts.items():
            self._hosts.labels(state).set(count)

    def failed(self, duty: str) -> None:
        """A run of this duty raised."""
        self._failures.labels(duty).inc()


def parse_address(text: str) -> tuple[str, int]:
    """Address and port of ``127.0.0.1:9792`` or ``[::1]:9792``. Raises `InvalidAddress`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65_536:
        raise InvalidAddress(f"[engine] metrics_bind is {text!r}; it needs ADDRESS:PORT, such as 127.0.0.1:9792")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  # an empty address means every one, as elsewhere


def serve(metrics: Metrics, address: str) -> None:
    """Serve them over HTTP from a thread of its own. Raises `InvalidAddress`, also when the port is taken."""
    host, port = parse_address(address)
    try:
        start_http_server(port, host, registry=metrics.registry)
    except OSError as error:
        raise InvalidAddress(f"[engine] metrics_bind = {address}: {error.strerror or error}") from None
