"""`/metrics` for Prometheus: the last published tick, collected when it is asked for."""

import logging
import resource
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import start_wsgi_server
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

import stella
from stella.model.allocation import InstanceDecision, WriteResult
from stella.model.attainment import Status
from stella.model.snapshot import Role, Snapshot
from stella.xgos.local_api.agent_api import TICK_BUCKETS_SECONDS, AgentApi, LinkStatus, Published
from stella.xgos.local_api.metric_catalogue import CATALOGUE, Kind, MetricFamily

_LOG = logging.getLogger(__name__)
_MAKERS = {Kind.GAUGE: GaugeMetricFamily, Kind.COUNTER: CounterMetricFamily}

Labels = tuple[str, ...]


class _Families:
    """The catalogue's families, to be filled. A metric that is not in the catalogue cannot be added."""

    def __init__(self) -> None:
        self._entries: dict[str, MetricFamily] = {entry.name: entry for entry in CATALOGUE}
        self._samples: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, HistogramMetricFamily] = {}

    def add(self, name: str, value: float, labels: Labels = ()) -> None:
        entry = self._entries[name]
        if len(labels) != len(entry.labels):
            raise ValueError(f"{name} takes the labels {entry.labels}")
        self._samples.setdefault(name, {})[labels] = value  # a label set twice would make the whole page invalid

    def add_histogram(self, name: str, buckets: tuple[int, ...], total: float) -> None:
        family = HistogramMetricFamily(name, self._entries[name].help)
        cumulative, shown = 0, []
        for bound, count in zip((*map(str, TICK_BUCKETS_SECONDS), "+Inf"), buckets, strict=True):
            cumulative += count
            shown.append((bound, float(cumulative)))
        family.add_metric([], shown, total)
        self._histograms[name] = family

    def __iter__(self) -> Iterator[Family]:
        for name, entry in self._entries.items():
            if name in self._histograms:
                yield self._histograms[name]
            elif name in self._samples:
                family = _MAKERS[entry.kind](name, entry.help, labels=entry.labels)
                for labels, value in self._samples[name].items():
                    family.add_metric(labels, value)
                yield family


@dataclass(slots=True)
class _RoleTotals:
    """Run and wait seconds by role that never fall when a thread ends: differences per thread, summed up."""

    totals: dict[tuple[str, Role], tuple[float, float]] = field(default_factory=dict)
    _last: dict[tuple[str, int, int], tuple[float, float]] = field(default_factory=dict)

    def take(self, snapshot: Snapshot) -> None:
        last: dict[tuple[str, int, int], tuple[float, float]] = {}
        kept: dict[tuple[str, Role], tuple[float, float]] = {}
        for instance in snapshot.instances:
            for role in Role:
                if (instance.uuid, role) in self.totals:
                    kept[instance.uuid, role] = self.totals[instance.uuid, role]
            if instance.threads is None:  # not read this time: keep what is known of its threads
                last.update({key: seen for key, seen in self._last.items() if key[0] == instance.uuid})
            for thread in instance.threads or ():
                key = (instance.uuid, thread.tid, thread.start_ticks)
                run_before, wait_before = self._last.get(key, (0.0, 0.0))
                run, wait = kept.get((instance.uuid, thread.role), (0.0, 0.0))
                kept[instance.uuid, thread.role] = (
                    run + max(0.0, thread.run_seconds - run_before),
                    wait + max(0.0, thread.wait_seconds - wait_before),
                )
                last[key] = (thread.run_seconds, thread.wait_seconds)
        self.totals, self._last = kept, last


class Exporter(Collector):
    """Turns the last tick into Prometheus families."""

    def __init__(self, port: AgentApi) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._roles = _RoleTotals()
        self._seen: Published | None = None

    def collect(self) -> Iterator[Family]:
        """All families of the catalogue that have a value now. Nothing before the first tick has ended."""
        published = self._port.published()
        if published is None:
            return iter(())
        families = _Families()
        with self._lock:
            if published is not self._seen:
                self._roles.take(published.snapshot)
                self._seen = published
            roles = dict(self._roles.totals)
        labels = _instance_labels(published)
        _add_host(families, published)
        for decision in published.decision.instances:
            _add_instance(families, decision, labels[decision.uuid])
        for uuid, intent in published.intents.items():
            reserved = intent.reserved_cpu_cores
            families.add("stella_instance_cpu_reserved_cores", reserved, labels.get(uuid, (uuid, "", "")))
        for (uuid, role), (run, wait) in roles.items():
            named = (*labels.get(uuid, (uuid, "", "")), role.value)
            families.add("stella_instance_thread_run_seconds_total", run, named)
            families.add("stella_instance_thread_wait_seconds_total", wait, named)
        self._add_account(families, labels)
        _add_agent(families, published)
        families.add("stella_agent_history_dropped_lines_total", self._port.history.dropped_lines)
        outbox = self._port.outbox
        if outbox is not None:
            families.add("stella_agent_outbox_rows", outbox.depth)
            families.add("stella_agent_outbox_dropped_rows_total", outbox.dropped)
        link = self._port.link_status()
        if link is not None:
            _add_link(families, link)
        return iter(families)

    def _add_account(self, families: _Families, labels: Mapping[str, Labels]) -> None:
        for (uuid, metric), counts in self._port.history.counts().items():
            for status in Status:
                named = (*labels.get(uuid, (uuid, "", "")), metric.value, status.value)
                families.add("stella_objective_windows_total", counts.get(status, 0), named)
        for (uuid, metric), count in self._port.violations.opened_counts().items():
            named = (*labels.get(uuid, (uuid, "", "")), metric.value)
            families.add("stella_violations_total", count, named)
        for uuid, seconds in self._port.violations.offender_seconds().items():
            families.add("stella_instance_offender_seconds_total", seconds, labels.get(uuid, (uuid, "", "")))
        families.add("stella_violations_open", self._port.violations.open_count())


def _instance_labels(published: Published) -> dict[str, Labels]:
    labels: dict[str, Labels] = {d.uuid: (d.uuid, d.name, "") for d in published.decision.instances}
    labels.update({i.uuid: (i.uuid, i.name, i.project) for i in published.snapshot.instances})
    return labels


def _add_host(families: _Families, published: Published) -> None:
    host = published.decision.host
    families.add("stella_host_cpu_cores", host.cores)
    families.add("stella_host_cpu_busy_cores", host.busy_cores)
    families.add("stella_host_cpu_instances_cores", host.instances_cores)
    families.add("stella_host_cpu_overhead_cores", host.overhead_cores)
    families.add("stella_host_cpu_softirq_cores", host.softirq_cores)
    families.add("stella_host_cpu_steal_cores", host.steal_cores)
    families.add("stella_host_cpu_capacity_cores", published.capacity_cpu_cores)
    families.add("stella_host_cpu_host_reserved_cores", published.host_reserved_cpu_cores)
    families.add("stella_host_cpu_reserved_cores", published.reserved_cpu_cores)


def _add_instance(families: _Families, decision: InstanceDecision, labels: Labels) -> None:
    families.add("stella_instance_cpu_usage_cores", decision.usage_cores, labels)
    families.add("stella_instance_cpu_demand_cores", decision.demand_cores, labels)
    families.add("stella_instance_cpu_reservation_cores", decision.cpu.reservation_cores, labels)
    families.add("stella_instance_cpu_allocation_cores", decision.cpu.allocation_cores, labels)
    families.add("stella_instance_cpu_io_ratio", decision.cpu.io_ratio, labels)
    families.add("stella_instance_cpu_starved_ratio", decision.starved_ratio, labels)
    families.add("stella_instance_managed", decision.managed, labels)
    families.add("stella_instance_frozen", decision.frozen, labels)
    for report in decision.objectives:
        named = (*labels, report.metric.value, report.kind)
        families.add("stella_objective_value", report.value, named)
        if report.usage is not None:
            families.add("stella_objective_usage", report.usage, named)
        if report.demand is not None:
            families.add("stella_objective_demand", report.demand, named)
        for status in Status:
            families.add("stella_objective_status", status is report.status, (*named, status.value))
        if report.cause is not None:
            families.add("stella_objective_cause", 1, (*named, report.cause.value))


def _add_agent(families: _Families, published: Published) -> None:
    counters = published.counters
    families.add("stella_agent_info", 1, (stella.__version__, published.mode.value))
    families.add("stella_agent_ticks_total", counters.ticks)
    families.add("stella_agent_late_ticks_total", counters.late_ticks)
    families.add("stella_agent_failed_ticks_total", counters.failed_ticks)
    families.add_histogram("stella_agent_tick_duration_seconds", counters.tick_buckets, counters.tick_seconds)
    families.add("stella_agent_last_tick_timestamp_seconds", published.decision.wall_seconds)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    families.add("stella_agent_cpu_seconds_total", sum(u.ru_utime + u.ru_stime for u in used))
    for result in WriteResult:
        families.add("stella_agent_writes_total", counters.writes.get(result.value, 0), (result.value,))
    families.add("stella_agent_reasserted_writes_total", counters.reasserted_writes)
    families.add("stella_agent_admission_refusals_total", counters.admission_refusals)
    families.add("stella_agent_state_persisted", published.persisted)
    for sensor in published.snapshot.sensors:
        families.add("stella_sensor_success", sensor.ok, (sensor.name,))
        families.add("stella_sensor_duration_seconds", sensor.duration_seconds, (sensor.name,))
    for name, count in counters.sensor_failures.items():
        families.add("stella_sensor_failures_total", count, (name,))


def _add_link(families: _Families, link: LinkStatus) -> None:
    families.add("stella_agent_link_connected", link.connected)
    families.add("stella_agent_link_intent_revision", link.revision)
    if link.last_intent_seconds is not None:
        families.add("stella_agent_link_last_intent_timestamp_seconds", link.last_intent_seconds)
    if link.last_report_seconds is not None:
        families.add("stella_agent_link_last_report_timestamp_seconds", link.last_report_seconds)
    families.add("stella_agent_link_reports_total", link.reports)
    families.add("stella_agent_link_failures_total", link.failures)
    families.add("stella_agent_link_rejected_rows_total", link.rejected_rows)


class MetricsServer:
    """Serves `/metrics` from construction until `close`. Raises OSError where the address cannot be had."""

    def __init__(self, port: AgentApi, address: tuple[str, int]) -> None:
        registry = CollectorRegistry()
        registry.register(Exporter(port))
        self._server: WSGIServer
        self._server, self._thread = start_wsgi_server(address[1], addr=address[0], registry=registry)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2.0)
