"""What the facts of a host mean, and what to do about them. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from stella.linux.domain_xml import Interface
from stella.model.check import Result, failure, named, success, warning
from stella.xgos.checks.facts import Host, Link, Master
from stella.xgos.link.fetcher import refusal

SMALLEST_LIBVIRT, SMALLEST_QEMU = 8_000_000, 6_002_000
"""What Nova 34 (2026.2) needs; the agent itself was tried with libvirt 9.0 and QEMU 7.2."""
OFFSET_WARNING_SECONDS, OFFSET_FAILURE_SECONDS = 5.0, 300.0
"""From 300 s on, stella-api refuses a host's reports unless it is configured otherwise ([link] largest_clock_offset_seconds)."""


def check(host: Host) -> list[Result]:
    """All checks, in the order in which one mends what is wrong."""
    found = [_groups(host), _libvirt(host), _qemu(host), _taps(host), _limits(host), _schedstat(host), _agent(host)]
    return [*found, *_api(host), _nova(host)]


def _groups(host: Host) -> Result:
    name, groups = "Control groups", host.groups
    if not groups.version:
        return failure(name, f"{groups.error}. Mount cgroup v2, or v1 with the controllers cpu and cpuset.")
    where = f"v{groups.version} at {groups.mount}"
    if not groups.cpuset_mount:
        return warning(
            name, f"{where}, without the controller cpuset: shares are less exact while the host is full. Enable it."
        )
    return success(name, f"{where} with cpu and cpuset.")


def _libvirt(host: Host) -> Result:
    name, found = "libvirt", host.hypervisor
    if isinstance(found, str):
        return failure(
            name, f"It cannot be asked: {found}. Start libvirtd or virtqemud, and look at libvirt_uri in xgos.toml."
        )
    if found.libvirt < SMALLEST_LIBVIRT:
        return warning(
            name, f"{show_version(found.libvirt)}; Nova 34 needs {show_version(SMALLEST_LIBVIRT)}: upgrade it."
        )
    return success(name, f"{show_version(found.libvirt)}, {found.domains} instances run.")


def _qemu(host: Host) -> Result:
    name, found = "QEMU", host.hypervisor
    if isinstance(found, str):
        return warning(name, "Its version is not known, because libvirt cannot be asked.")
    if found.qemu < SMALLEST_QEMU:
        return warning(name, f"{show_version(found.qemu)}; Nova 34 needs {show_version(SMALLEST_QEMU)}: upgrade it.")
    return success(name, f"{show_version(found.qemu)}.")


def show_version(number: int) -> str:
    """A version as libvirt counts it: 9 000 000 is 9.0.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


_ACTS = {
    "bridge": "in a Linux bridge",
    "openvswitch-kernel": "in Open vSwitch's kernel datapath",
    "plain": "routed, or in no bridge",
    "other": "below another device",
}
_ACTS_NOT = {
    "openvswitch-userspace": (
        "in Open vSwitch's userspace datapath, which takes what an instance sends first: limits on that cannot act, and such ceilings "
        "are refused. Those on what it receives act, and network floors are kept, by CPU. Where ceilings matter, set "
        "firewall_driver = iptables_hybrid in Neutron's Open vSwitch agent"
    ),
    "macvtap": (
        "macvtap: limits of the host cannot act there, and network ceilings are refused. Network floors are kept all the same, by "
        "CPU. Where ceilings matter, use bridges"
    ),
    "no-device": (
        "without a device on the host (vhost-user or SR-IOV): their packets can be neither counted nor limited here, so that network "
        "objectives are UNKNOWN. Do not sell network floors on this host"
    ),
    "hidden": (
        "whose device is not in the network namespace of this command: run it where the agent runs, or network objectives are UNKNOWN"
    ),
}


def plugging(link: Link) -> str:
    """How a link is plugged, as far as it matters for measuring and limiting it."""
    kind, interface = link.interface.kind, link.interface
    if kind in ("vhostuser", "hostdev", "vdpa") or not interface.device:
        return "no-device"
    if kind == "direct":
        return "macvtap"
    match link.master:
        case Master.NO_DEVICE:
            return "hidden"
        case Master.BRIDGE:
            return "bridge"
        case Master.OPENVSWITCH:
            return "openvswitch-kernel"
        case Master.NONE:
            return "openvswitch-userspace" if interface.switch == "openvswitch" else "plain"
        case Master.OTHER:
            return "other"


def _taps(host: Host) -> Result:
    name = "Taps"
    if not host.links:
        why = "libvirt cannot be asked" if isinstance(host.hypervisor, str) else "no instance with a network runs"
        return warning(name, f"How they are plugged is not known, because {why}. Check again when one runs.")
    counts = Counter(map(plugging, host.links))
    told = [f"{counts[way]} {_ACTS_NOT[way]}" for way in _ACTS_NOT if counts[way]]
    good = [f"{counts[way]} {text}" for way, text in _ACTS.items() if counts[way]]
    if told:
        return warning(name, "; ".join([*told, *good]) + ".")
    return success(name, f"{', '.join(good)}: limits on what they receive can act.")


def _limits(host: Host) -> Result:
    name, lack = "Network limits", dict(host.link_limits_lack)
    if not lack:
        return success(name, "The kernel limits packets and bytes of links.")
    told = "; ".join(f"ceilings in {kind} are refused: {why}" for kind, why in lack.items())
    return warning(name, f"{told}. Floors do not need them.")


def _schedstat(host: Host) -> Result:
    name = "Scheduler statistics"
    if host.has_schedstat:
        return success(name, "/proc/PID/schedstat counts run and wait time.")
    what = "cannot be read" if host.has_schedstat is None else "holds zeros"
    return failure(
        name,
        f"/proc/PID/schedstat {what}: xgos cannot tell an idle instance from a starved one. "
        "Boot a kernel with CONFIG_SCHEDSTATS, or with the parameter delayacct.",
    )


def _agent(host: Host) -> Result:
    name, agent = "Agent", host.agent
    if agent.error:
        return warning(name, f"It cannot be asked: {agent.error}. Start it: systemctl enable --now xgos.")
    if agent.version != host.version:
        return warning(
            name, f"{agent.version} runs, {host.version} is installed: restart it with systemctl restart xgos."
        )
    if agent.failing_sensors:
        return warning(name, f"It runs with failing sensors: {named(agent.failing_sensors)}. xgos status tells why.")
    if agent.mode == "observe":
        return success(name, f"{agent.version} runs, in mode observe: it enforces nothing.")
    return success(name, f"{agent.version} runs, in mode {agent.mode}.")


def _api(host: Host) -> list[Result]:
    api = host.api
    if api is None:
        return [success("stella-api", "This host is not linked to one (api_url is empty).")]
    if api.error:
        return [failure("stella-api", f"It cannot be asked: {api.error}. Look at api_url and api_credential_file.")]
    if api.status not in (200, 304):
        answer = failure("stella-api", f"It answers {refusal(api.status)}.")
    else:
        answer = success("stella-api", f"It knows this host as {host.host_name}.")
    return [answer, _clock(api.offset_seconds, api.uncertainty_seconds)]


def _clock(offset_seconds: float | None, uncertainty_seconds: float) -> Result:
    name = "Clock"
    if offset_seconds is None:
        return warning(name, "stella-api sent no date to compare with. Look whether a proxy removes the header Date.")
    certain = max(0.0, abs(offset_seconds) - uncertainty_seconds)
    if certain < OFFSET_WARNING_SECONDS:
        return success(name, f"Within {abs(offset_seconds) + uncertainty_seconds:.0f} s of stella-api's.")
    told = f"{abs(offset_seconds):.0f} s {'ahead of' if offset_seconds > 0 else 'behind'} stella-api's"
    if certain < OFFSET_FAILURE_SECONDS:
        return warning(name, f"{told}: usage is filed at the wrong time. Synchronise both with NTP (chrony).")
    return failure(name, f"{told}, so that reports are refused. Synchronise both with NTP (chrony).")


def _nova(host: Host) -> Result:
    name, nova = "Nova's host name", host.nova
    if nova.error:
        return warning(name, f"Not checked: {nova.error}. Name the file of nova-compute with --nova-conf.")
    if not nova.files:
        if isinstance(host.hypervisor, str) or host.hypervisor.of_nova == 0:
            return success(name, "No configuration of Nova and no instance of Nova's are here.")
        return warning(name, "Not checked: name the configuration of nova-compute with --nova-conf.")
    if nova.name != host.host_name:
        return failure(
            name,
            f"nova-compute calls this host {nova.name}, xgos calls it {host.host_name}: Placement and Nova's filter would not "
            f'find it. Enroll it as {nova.name} and set api_host_name = "{nova.name}" in xgos.toml.',
        )
    return success(name, f"{nova.name}, for xgos as well.")


def links_of(interfaces: Sequence[Interface], masters: Mapping[str, Master]) -> tuple[Link, ...]:
    """The links with what the kernel says of their devices."""
    return tuple(Link(interface=each, master=masters.get(each.device, Master.NO_DEVICE)) for each in interfaces)
