"""Every metric that `/metrics` offers: name, kind, unit, labels and where its value comes from.

The exporter makes its families from this list and `docs/metrics.md` is printed from it, so that the three cannot differ.
Names begin with ``stella_`` and carry the base unit; the objective's own numbers are in the base unit of its ``metric`` label.
"""

import enum
from dataclasses import dataclass

from stella.model.slo import Metric


class Kind(enum.StrEnum):
    """The kind of a metric, as Prometheus has it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One metric. ``source`` names the value of a tick that it is taken from."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...]
    source: str


INSTANCE = ("uuid", "name", "project")
OBJECTIVE = (*INSTANCE, "metric")
_G, _C, _H = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM

CATALOGUE: tuple[MetricFamily, ...] = (
    # The host.
    MetricFamily("stella_host_cpu_cores", _G, "cores", "Cores of the host.", (), "HostUsage.cores"),
    MetricFamily("stella_host_cpu_busy_cores", _G, "cores", "CPU in use over the last tick.", (), "HostUsage.busy_cores"),
    MetricFamily(
        "stella_host_cpu_instances_cores", _G, "cores", "CPU used by instances, QEMU's I/O threads included.", (),
        "HostUsage.instances_cores",
    ),
    MetricFamily(
        "stella_host_cpu_overhead_cores", _G, "cores", "CPU used by whatever is not an instance, Stella included.", (),
        "HostUsage.overhead_cores",
    ),
    MetricFamily("stella_host_cpu_softirq_cores", _G, "cores", "CPU used in soft interrupts.", (), "HostUsage.softirq_cores"),
    MetricFamily(
        "stella_host_cpu_steal_cores", _G, "cores", "CPU that the host's own hypervisor took away.", (), "HostUsage.steal_cores"
    ),
    MetricFamily(
        "stella_host_cpu_capacity_cores", _G, "cores", "CPU that may be promised, the host's reservation taken off.", (),
        "Published.capacity_cpu_cores",
    ),
    MetricFamily(
        "stella_host_cpu_host_reserved_cores", _G, "cores", "CPU set aside for the host's own services.", (),
        "Published.host_reserved_cpu_cores",
    ),
    MetricFamily(
        "stella_host_cpu_reserved_cores", _G, "cores", "CPU that admission set aside for the floors of all instances.", (),
        "Published.reserved_cpu_cores",
    ),
    # Instances.
    MetricFamily(
        "stella_instance_cpu_usage_cores", _G, "cores", "CPU used by all QEMU threads of the instance.", INSTANCE,
        "InstanceDecision.usage_cores",
    ),
    MetricFamily(
        "stella_instance_cpu_demand_cores", _G, "cores", "CPU the instance would use if nothing held it back.", INSTANCE,
        "InstanceDecision.demand_cores",
    ),
    MetricFamily(
        "stella_instance_cpu_reserved_cores", _G, "cores", "CPU that admission set aside for its floors.", INSTANCE,
        "Intent.reserved_cpu_cores",
    ),
    MetricFamily(
        "stella_instance_cpu_reservation_cores", _G, "cores", "CPU set aside for its floors in the last tick.", INSTANCE,
        "CpuAllocation.reservation_cores",
    ),
    MetricFamily(
        "stella_instance_cpu_allocation_cores", _G, "cores", "CPU it gets when all instances want more than there is.", INSTANCE,
        "CpuAllocation.allocation_cores",
    ),
    MetricFamily(
        "stella_instance_cpu_io_ratio", _G, "ratio", "Part of its CPU that its I/O threads are entitled to before its vCPUs.",
        INSTANCE, "CpuAllocation.io_ratio",
    ),
    MetricFamily(
        "stella_instance_cpu_starved_ratio", _G, "ratio", "Wait / (run + wait) of its worst thread or stage.", INSTANCE,
        "InstanceDecision.starved_ratio",
    ),
    MetricFamily(
        "stella_instance_thread_run_seconds_total", _C, "seconds", "CPU time of its threads, by role.", (*INSTANCE, "role"),
        "ThreadReading.run_seconds",
    ),
    MetricFamily(
        "stella_instance_thread_wait_seconds_total", _C, "seconds", "Time its threads were runnable but not running, by role.",
        (*INSTANCE, "role"), "ThreadReading.wait_seconds",
    ),
    MetricFamily(
        "stella_instance_managed", _G, "", "1 for an instance with an SLO, 0 for one that shares what is left.", INSTANCE,
        "InstanceDecision.managed",
    ),
    MetricFamily(
        "stella_instance_frozen", _G, "", "1 while nothing is written for it: migrating, paused or not seen well enough.",
        INSTANCE, "InstanceDecision.frozen",
    ),
    # Objectives.
    MetricFamily(
        "stella_objective_value", _G, "of the metric", "What is promised now: a floor, ceiling, weight or target.",
        (*OBJECTIVE, "kind"), "ObjectiveReport.value",
    ),
    MetricFamily(
        "stella_objective_usage", _G, "of the metric", "What was measured. Absent while it is not known.", (*OBJECTIVE, "kind"),
        "ObjectiveReport.usage",
    ),
    MetricFamily(
        "stella_objective_demand", _G, "of the metric", "What it would use if nothing held it back. Absent while not known.",
        (*OBJECTIVE, "kind"), "ObjectiveReport.demand",
    ),
    MetricFamily(
        "stella_objective_status", _G, "", "1 for the status it has, 0 for the others.", (*OBJECTIVE, "kind", "status"),
        "ObjectiveReport.status",
    ),
    MetricFamily(
        "stella_objective_cause", _G, "", "1 for the cause why it is missed. Absent while it is not.",
        (*OBJECTIVE, "kind", "cause"), "ObjectiveReport.cause",
    ),
    MetricFamily(
        "stella_objective_windows_total", _C, "", "Windows of one second by what became of them, since the agent started.",
        (*OBJECTIVE, "status"), "History.counts",
    ),
    MetricFamily("stella_violations_open", _G, "", "Violations that last.", (), "ViolationLog.open_count"),
    MetricFamily(
        "stella_violations_total", _C, "", "Violations that began since the agent started.", OBJECTIVE,
        "ViolationLog.opened_counts",
    ),
    MetricFamily(
        "stella_instance_offender_seconds_total", _C, "seconds",
        "Seconds in which it took most above its entitlement while another lacked CPU. `uuid` is `host` for host services.",
        INSTANCE, "ViolationLog.offender_seconds",
    ),
    # The agent.
    MetricFamily(
        "stella_agent_info", _G, "", "Always 1; the labels tell version and mode.", ("version", "mode"), "Published.mode"
    ),
    MetricFamily("stella_agent_ticks_total", _C, "", "Ticks.", (), "AgentCounters.ticks"),
    MetricFamily("stella_agent_late_ticks_total", _C, "", "Ticks that missed their deadline.", (), "AgentCounters.late_ticks"),
    MetricFamily(
        "stella_agent_failed_ticks_total", _C, "", "Ticks that failed; the last safe allocation stayed.", (),
        "AgentCounters.failed_ticks",
    ),
    MetricFamily(
        "stella_agent_tick_duration_seconds", _H, "seconds", "How long a tick took.", (), "AgentCounters.tick_buckets"
    ),
    MetricFamily(
        "stella_agent_last_tick_timestamp_seconds", _G, "seconds", "When the last tick was, in Unix time.", (),
        "Decision.wall_seconds",
    ),
    MetricFamily(
        "stella_agent_cpu_seconds_total", _C, "seconds", "CPU time of the agent and its ended children.", (), "getrusage"
    ),
    MetricFamily("stella_agent_writes_total", _C, "", "Knobs written, by result.", ("result",), "AgentCounters.writes"),
    MetricFamily(
        "stella_agent_reasserted_writes_total", _C, "", "Knobs that another program had changed and that were set again.", (),
        "AgentCounters.reasserted_writes",
    ),
    MetricFamily(
        "stella_agent_admission_refusals_total", _C, "", "SLOs refused because they do not fit.", (),
        "AgentCounters.admission_refusals",
    ),
    MetricFamily(
        "stella_agent_history_dropped_lines_total", _C, "", "Lines of history that were not written to disk.", (),
        "History.dropped_lines",
    ),
    MetricFamily(
        "stella_agent_outbox_rows", _G, "", "Rows for the cloud that are not acknowledged yet.", (), "Outbox.depth"
    ),
    MetricFamily(
        "stella_agent_outbox_dropped_rows_total", _C, "", "Rows for the cloud that were dropped; minutes are reported as UNKNOWN.",
        (), "Outbox.dropped",
    ),
    MetricFamily(
        "stella_agent_link_connected", _G, "", "Whether the last exchanges with stella-api went well. Absent without a link.", (),
        "LinkStatus.connected",
    ),
    MetricFamily(
        "stella_agent_link_last_intent_timestamp_seconds", _G, "seconds", "When the intent was last had, in Unix time.", (),
        "LinkStatus.last_intent_seconds",
    ),
    MetricFamily(
        "stella_agent_link_last_report_timestamp_seconds", _G, "seconds", "When a report was last taken, in Unix time.", (),
        "LinkStatus.last_report_seconds",
    ),
    MetricFamily(
        "stella_agent_link_intent_revision", _G, "", "Revision of the intent that this host keeps.", (), "LinkStatus.revision"
    ),
    MetricFamily("stella_agent_link_reports_total", _C, "", "Reports that were taken.", (), "LinkStatus.reports"),
    MetricFamily("stella_agent_link_failures_total", _C, "", "Exchanges that failed.", (), "LinkStatus.failures"),
    MetricFamily(
        "stella_agent_link_rejected_rows_total", _C, "", "Rows that stella-api will never take; each is in the log.", (),
        "LinkStatus.rejected_rows",
    ),
    MetricFamily(
        "stella_agent_state_persisted", _G, "", "0 while state cannot be written to disk and is kept in memory only.", (),
        "Published.persisted",
    ),
    MetricFamily(
        "stella_sensor_success", _G, "", "Whether the sensor could read in the last tick.", ("sensor",), "SensorReading.ok"
    ),
    MetricFamily(
        "stella_sensor_duration_seconds", _G, "seconds", "How long the sensor took in the last tick.", ("sensor",),
        "SensorReading.duration_seconds",
    ),
    MetricFamily(
        "stella_sensor_failures_total", _C, "", "Ticks in which the sensor could not read.", ("sensor",),
        "AgentCounters.sensor_failures",
    ),
)  # fmt: skip


def print_catalogue() -> str:
    """The text of `docs/metrics.md`. Write it with ``python -m stella.xgos.local_api.metric_catalogue > docs/metrics.md``."""
    lines = [
        "# Metrics of xgos",
        "",
        "Generated from `stella/xgos/local_api/metric_catalogue.py`",
        "(`python -m stella.xgos.local_api.metric_catalogue > docs/metrics.md`); a test checks that it is not out of date.",
        "The agent serves them on `metrics_listen`, by default",
        "`http://127.0.0.1:9817/metrics`. Units are base units. `stella_objective_*` values are in the unit of their `metric`:",
        ", ".join(f"`{metric}` in {metric.unit}" for metric in Metric) + ".",
        "",
        "`project` is the OpenStack project that the domain's metadata names, empty without one.",
        "",
        "| metric | type | unit | labels | meaning | source |",
        "|---|---|---|---|---|---|",
    ]
    for family in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(
            f"| `{family.name}` | {family.kind} | {family.unit} | {labels} | {family.help} | `{family.source}` |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(print_catalogue(), end="")
