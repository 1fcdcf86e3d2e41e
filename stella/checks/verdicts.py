"""What the facts of a cloud mean, and what to do about them. Pure."""

import re
from collections.abc import Sequence

from stella.checks.facts import Host, Lease, Login, Notifications, Nova, NovaConf, Placement
from stella.model.check import Result, failure, named, success, warning
from stella.model.resources import CPU_MILLICORES

OFFSET_WARNING_SECONDS = 5.0
"""A report may take some seconds on its way, which looks like a clock that is behind."""
SMALLEST_NOVA, SMALLEST_PLACEMENT = (2, 69), (1, 36)
FILTER, WEIGHER = "stella_nova.filter.StellaFilter", "stella_nova.weigher.StellaWeigher"
ALL_FILTERS = "nova.scheduler.filters.all_filters"
_LEASES_MISSED = 5
_RELEASE = re.compile(r"(\d+)\.(\d+)")


def _hosts(count: int) -> str:
    return f"{count} host{'' if count == 1 else 's'}"


# --- what stella-api and stella-engine have in the database


def hosts(found: Sequence[Host], *, now: float, silent_seconds: float) -> Result:
    """Whether those that are enrolled report."""
    if not found:
        return success("Hosts", "None is enrolled yet; enroll one with stella-manage host enroll NAME.")
    never = [host.name for host in found if host.reported_at is None]
    silent = [host.name for host in found if host.reported_at is not None and now - host.reported_at > silent_seconds]
    told = []
    if silent:
        told.append(f"{len(silent)} of {len(found)} have not reported for {silent_seconds:.0f} s: {named(silent)}")
    if never:
        told.append(f"{len(never)} of {len(found)} never reported: {named(never)}")
    if told:
        return warning("Hosts", f"{'; '.join(told)}. Run xgos check there.")
    enforcing = sum(1 for host in found if host.mode == "enforce")
    return success("Hosts", f"{_hosts(len(found))} report, {enforcing} enforce.")


def agents(found: Sequence[Host], version: str) -> Result:
    """Whether agents and API understand each other: one release apart is meant to work."""
    reporting = [host for host in found if host.version]
    if not reporting:
        return success("Agents", "No agent has told its version yet.")
    far = [host.name for host in reporting if _releases_apart(host.version, version) > 1]
    if far:
        return failure(
            "Agents", f"More than one release from the API's {version}: {named(far)}. Upgrade the older of the two."
        )
    other = [f"{host.name} ({host.version})" for host in reporting if host.version != version]
    if other:
        return warning("Agents", f"Not of the API's version {version}: {named(other)}. It works; upgrade them.")
    return success("Agents", f"All have the API's version {version}.")


def _releases_apart(one: str, other: str) -> int:
    """How many minor releases lie between; many where the major one differs or a version cannot be read."""
    found = _RELEASE.match(one), _RELEASE.match(other)
    if found[0] is None or found[1] is None or found[0][1] != found[1][1]:
        return 99
    return abs(int(found[0][2]) - int(found[1][2]))


def clocks(found: Sequence[Host], *, largest_seconds: float) -> Result:
    """Whether the hosts' clocks agree with this machine's."""
    offsets = {host.name: host.clock_offset_seconds for host in found if host.clock_offset_seconds is not None}
    if not offsets:
        return success("Clocks", "No host has reported yet.")
    wrong = [f"{name} ({offset:+.0f} s)" for name, offset in offsets.items() if abs(offset) > OFFSET_WARNING_SECONDS]
    if not wrong:
        return success("Clocks", f"The hosts' are within {OFFSET_WARNING_SECONDS:.0f} s of this one.")
    detail = f"Off, by their last reports: {named(wrong)}. Synchronise them with NTP (chrony), and this machine too"
    if max(map(abs, offsets.values())) > largest_seconds / 2:
        return failure("Clocks", f"{detail}; from {largest_seconds:.0f} s on, reports are refused.")
    return warning("Clocks", f"{detail}; or a report took that long.")


def engine(lease: Lease | None, *, now: float, lease_seconds: float) -> Result:
    """Whether one leads."""
    away = "Start stella-engine: without it nobody follows instances, rolls up attainment or keeps Placement in step."
    if lease is None:
        return warning("Engine", f"None has run on this database yet. {away}")
    age = now - lease.renewed_at
    if not lease.held or age > _LEASES_MISSED * lease_seconds:
        return failure("Engine", f"None leads; the last sign of life was {max(0.0, age):.0f} s ago. {away}")
    return success("Engine", "One leads.")


# --- Keystone


def token_checker(found: Login) -> Result:
    """Whether stella-api may ask Keystone about tokens."""
    name = "Authentication"
    if found.error:
        return failure(
            name, f"[keystone_authtoken] cannot log in: {found.error}. Until then every request is 401 or 503."
        )
    if not found.roles & {"service", "admin"}:
        return failure(
            name,
            f"The user {found.user} may not check tokens: openstack role add --user {found.user} --project service service.",
        )
    if "service" not in found.roles:
        return warning(
            name,
            f"The user {found.user} checks tokens as admin; give it the role service: "
            f"openstack role add --user {found.user} --project service service.",
        )
    return success(name, f"Keystone's tokens, checked by the user {found.user}.")


def token_cache(servers: Sequence[str]) -> Result:
    """Whether tokens that were checked are remembered by all processes."""
    if servers:
        return success("Token cache", f"memcached at {named(servers)}.")
    return warning(
        "Token cache",
        "[keystone_authtoken] memcached_servers is not set: each process asks Keystone again for each token.",
    )


def keystone(found: Login) -> Result:
    """Whether stella-engine can log in, and people find stella-api."""
    name = "Keystone"
    if found.error:
        return failure(name, f"[openstack] cannot log in: {found.error}.")
    if "stella" not in found.services:
        return warning(
            name,
            f"The user {found.user} logs in. The catalogue has no service of type stella: make it with openstack service create and "
            "endpoint create, or clients and Nova's filter do not find stella-api.",
        )
    return success(name, f"The user {found.user} logs in, and the catalogue has stella-api.")


# --- Nova and Placement


def nova(found: Nova, enrolled: Sequence[str] | None) -> Result:
    """Whether Nova can be asked, and calls the hosts as Stella does; which ones are ``enrolled`` may not be known (None)."""
    name = "Nova"
    if found.error:
        return failure(
            name, f"{found.error}. The user of [openstack] must be allowed to see servers of all projects and services."
        )
    if found.version < SMALLEST_NOVA:
        return failure(
            name, f"It offers {_dotted(found.version)}; Stella needs {_dotted(SMALLEST_NOVA)}: upgrade Nova."
        )
    if enrolled is None:
        return success(
            name, f"{_dotted(found.version)}; which hosts are enrolled is not known, because of the database."
        )
    computes = found.hosts or {}
    unknown = [host for host in enrolled if host not in computes]
    if unknown:
        return failure(
            name,
            f"It has no nova-compute on {named(unknown)}: a host must be enrolled by its Nova name (openstack compute service list).",
        )
    down = [host for host in enrolled if not computes[host]]
    if down:
        return warning(name, f"Its nova-compute is down on {named(down)}: see its log there.")
    return success(
        name, f"{_dotted(found.version)}; {len(enrolled)} of {len(computes)} nova-compute hosts are enrolled."
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def placement(found: Placement) -> Result:
    """Whether each host's guarantees are in Placement."""
    name = "Placement"
    if found.error:
        return failure(name, f"{found.error}. The user of [openstack] must be allowed to change resource providers.")
    if found.version < SMALLEST_PLACEMENT:
        return failure(
            name, f"It offers {_dotted(found.version)}; Stella needs {_dotted(SMALLEST_PLACEMENT)}: upgrade Placement."
        )
    if found.classes is None:
        return success(
            name, f"{_dotted(found.version)}; which hosts it should have is not known, because of the database."
        )
    classes = found.classes
    if found.without_root:
        return failure(
            name,
            f"It has no compute node for {named(sorted(found.without_root))}. Is nova-compute up there, and of the same name?",
        )
    empty = [host for host, has in classes.items() if not has or CPU_MILLICORES.name not in has]
    if empty:
        return warning(
            name,
            f"It has no inventory of Stella for {named(empty)}. stella-engine writes it within a minute; "
            "if not, see its log, and whether the host has CPU left to guarantee (openstack slo host list).",
        )
    if not classes:
        return success(name, f"{_dotted(found.version)}; no host has reported its capacity yet.")
    return success(name, f"{_dotted(found.version)}; the guarantees of {_hosts(len(classes))} are in it.")


_NAME_IT = "on the host of nova-scheduler, run stella-status upgrade check --nova-conf /etc/nova/nova.conf"


def nova_filter(found: NovaConf) -> Result:
    """Whether the scheduler asks Stella."""
    name = "Nova's filter"
    if found.error:
        return failure(name, f"{found.error}. Name nova-scheduler's configuration with --nova-conf.")
    if not found.files:
        return warning(name, f"Not checked: {_NAME_IT}.")
    if "StellaFilter" not in found.enabled_filters:
        return warning(
            name,
            "Not enabled: Nova puts servers where their SLO may not fit. Add StellaFilter to [filter_scheduler] enabled_filters.",
        )
    if FILTER not in found.available_filters:
        return failure(name, f"Enabled, not available: add available_filters = {FILTER}, or nova-scheduler fails.")
    if ALL_FILTERS not in found.available_filters:
        return failure(
            name, f"available_filters lacks {ALL_FILTERS}: add it, or nova-scheduler does not find Nova's own filters."
        )
    if not found.login & {"auth_type", "auth_section"}:
        return failure(
            name, "[stella] has no auth_type: the filter cannot log in to ask stella-api, and lets all hosts pass."
        )
    return success(name, "Enabled, with a user to ask stella-api.")


def nova_weigher(found: NovaConf) -> Result:
    """Whether the scheduler prefers hosts with head-room."""
    name = "Nova's weigher"
    if found.error or not found.files:
        return warning(name, "Not checked: see Nova's filter.")
    if WEIGHER not in found.weight_classes:
        return warning(name, f"Not enabled: hosts with head-room are not preferred. Add {WEIGHER} to weight_classes.")
    return success(name, "Enabled.")


def notifications(listening: Notifications, conf: NovaConf) -> Result:
    """Whether Nova tells what happens to instances, and stella-engine hears it."""
    name, topic = "Notifications", listening.topic
    if not topic:
        return warning(
            name,
            "stella-engine does not listen to Nova: it notices changes only when it reconciles. Set [notifications] transport_url in "
            "stella.conf.",
        )
    if conf.error or not conf.files:
        return warning(name, f"stella-engine listens to {topic}. Whether Nova sends there is not checked: {_NAME_IT}.")
    if not set(conf.notification_drivers) & {"messaging", "messagingv2"}:
        return warning(name, "Nova sends none: set [oslo_messaging_notifications] driver = messagingv2 in nova.conf.")
    if conf.notification_format not in ("versioned", "both"):
        return warning(
            name, "Nova sends unversioned ones: set [notifications] notification_format = both in nova.conf."
        )
    if topic not in conf.notification_topics:
        return warning(
            name,
            f"Nova does not send to {topic}: add it to [notifications] versioned_notifications_topics in nova.conf.",
        )
    if conf.control_exchange != listening.exchange:
        return warning(
            name,
            f"Nova sends to the exchange {conf.control_exchange}, stella-engine listens at {listening.exchange}: set [notifications] "
            f"exchange = {conf.control_exchange} in stella.conf.",
        )
    return success(name, f"Nova sends to {topic}, and stella-engine listens.")


def message_queue(listening: Notifications) -> Result:
    """Whether the queue can be reached from here."""
    name, brokers = "Message queue", listening.brokers
    if not brokers:
        return success(name, "None is used.")
    away = [f"{broker.address} ({broker.error})" for broker in brokers if broker.error]
    if len(away) == len(brokers):
        return failure(
            name, f"No server answers: {named(away)}. Look at [notifications] transport_url and at RabbitMQ."
        )
    if away:
        return warning(name, f"Of {len(brokers)} servers these do not answer: {named(away)}.")
    return success(name, f"RabbitMQ answers at {named([broker.address for broker in brokers])}.")
