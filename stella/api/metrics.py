"""What stella-api tells Prometheus of itself: counters of each process, and the hosts as the database has them.

Processes share their counters through files below ``$PROMETHEUS_MULTIPROC_DIR``, which must be set before this module is imported; not
set, there is one process. `CATALOGUE` is also what `docs/api/metrics.md` is printed from.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

import stella

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_VERDICTS: Mapping[str, str] = {
    "stella.slo.does_not_fit": "does_not_fit",
    "stella.slo.above_limit": "above_limit",
    "stella.slo.not_supported": "not_supported",
    "stella.quota.exceeded": "over_quota",
    "stella.slo.host_not_enforcing": "host_not_ready",
    "stella.slo.host_not_reported": "host_not_ready",
    "stella.slo.instance_not_running": "host_not_ready",
    "stella.request.conflict": "conflict",
    "stella.slo.generation_conflict": "conflict",
}
"""What each refusal of an SLO counts as; other errors are the request's own and count as none."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


REQUESTS = Family("stella_api_requests_total", "counter", ("operation", "status_class"), "Requests that were answered.")
DURATION = Family(
    "stella_api_request_duration_seconds",
    "histogram",
    ("operation",),
    "How long requests took, from the first handler on.",
)
ADMISSIONS = Family(
    "stella_api_admissions_total", "counter", ("verdict", "dry_run"), "SLOs that were asked for, by what was answered."
)
REPORTS = Family("stella_api_reports_total", "counter", (), "Reports of hosts that were taken.")
IGNORED = Family("stella_api_report_rows_ignored_total", "counter", (), "Rows in them that were ignored.")
HOSTS = Family("stella_api_hosts", "gauge", ("mode", "silent"), "Hosts by mode, and whether they report.")
BUILD = Family("stella_api_build_info", "gauge", ("version",), "Always 1, with the release as label.")
CATALOGUE = (REQUESTS, DURATION, ADMISSIONS, REPORTS, IGNORED, HOSTS, BUILD)


class Metrics:
    """The counters of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter(REQUESTS)
        self._duration = Histogram(
            DURATION.name, DURATION.help, DURATION.labels, buckets=_BUCKETS_SECONDS, registry=self.registry
        )
        self._admissions = self._counter(ADMISSIONS)
        self._reports = self._counter(REPORTS)
        self._ignored = self._counter(IGNORED)

    def _counter(self, family: Family) -> Counter:
        return Counter(family.name.removesuffix("_total"), family.help, family.labels, registry=self.registry)

    def served(self, operation: str, status: int, seconds: float) -> None:
        """A request was answered. ``operation`` is ``none`` where the path is none of the API's."""
        self._requests.labels(operation, f"{status // 100}xx").inc()
        self._duration.labels(operation).observe(seconds)

    def asked(self, code: str | None, *, dry_run: bool) -> None:
        """An SLO was accepted (None) or refused with this code."""
        verdict = "accepted" if code is None else _VERDICTS.get(code)
        if verdict is not None:
            self._admissions.labels(verdict, str(dry_run).lower()).inc()

    def reported(self, ignored_rows: int) -> None:
        """A report was taken."""
        self._reports.inc()
        self._ignored.inc(ignored_rows)


HostCounts = Mapping[tuple[str, bool], int]
"""How many hosts there are by mode and whether they are silent."""


class _Now:
    """What is asked for only when Prometheus comes."""

    def __init__(self, count_hosts: Callable[[], HostCounts]) -> None:
        self._count_hosts = count_hosts

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        build = GaugeMetricFamily(BUILD.name, BUILD.help, labels=BUILD.labels)
        build.add_metric([stella.__version__], 1)
        yield build
        hosts = GaugeMetricFamily(HOSTS.name, HOSTS.help, labels=HOSTS.labels)
        for (mode, silent), count in sorted(self._count_hosts().items()):
            hosts.add_metric([mode, str(silent).lower()], count)
        yield hosts


def page(metrics: Metrics, count_hosts: Callable[[], HostCounts]) -> bytes:
    """The page that Prometheus reads: of all processes together where there are many."""
    directory = os.environ.get(MULTIPROCESS)
    counted = metrics.registry
    if directory:
        counted = CollectorRegistry()
        MultiProcessCollector(counted, path=directory)  # type: ignore[no-untyped-call]  # it has no types
    now = CollectorRegistry()
    now.register(_Now(count_hosts))
    return generate_latest(counted) + generate_latest(now)


def print_catalogue() -> str:
    """The text of `docs/api/metrics.md`. Write it with ``python -m stella.api.metrics > docs/api/metrics.md``."""
    lines = [
        "# Which metrics does stella-api have?",
        "",
        "Generated from `stella/api/metrics.py` (`python -m stella.api.metrics > docs/api/metrics.md`); a test checks it.",
        "",
        "`stella-api` serves them at `http://ADDRESS/metrics` on `[api] metrics_bind` (127.0.0.1:9818 by default, off where it is",
        "empty), not on the port of the API, and without authentication. Counters are those of all workers together, and begin anew",
        "with the service. Several services behind a load balancer are scraped each; `stella_api_hosts` is then the same on each.",
        "Where the address is taken the service starts without metrics and says so. Under another WSGI server there is no such page.",
        "",
        "`etc/prometheus/stella-api.rules.yml` has recording and alerting rules.",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for family in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    verdicts = ", ".join(f"`{name}`" for name in dict.fromkeys(["accepted", *_VERDICTS.values()]))
    lines += [
        "",
        "`operation` is the `operationId` of the OpenAPI document, such as `slo.put`, or `none` for paths that do not exist.",
        f"`verdict` is one of {verdicts}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(print_catalogue(), end="")
