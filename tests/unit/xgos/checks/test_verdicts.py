"""What `xgos check` says of hosts of all kinds: pure functions on facts."""

from dataclasses import replace

import pytest

from stella.linux.domain_xml import Interface, parse_interfaces
from stella.model.check import Code, Result, worst
from stella.xgos.checks.facts import Agent, ApiAnswer, Groups, Host, Link, Master, NovaHost
from stella.xgos.checks.verdicts import check, links_of, plugging, show_version
from stella.xgos.sensing.inspection import Inspection

BRIDGED = Link(interface=Interface(device="tap1", kind="bridge"), master=Master.BRIDGE)
GOOD = Host(
    version="0.1.0",
    host_name="compute1",
    groups=Groups(version=2, mount="/sys/fs/cgroup", cpuset_mount="/sys/fs/cgroup"),
    hypervisor=Inspection(libvirt=9_000_000, qemu=7_002_022, domains=1, of_nova=1, interfaces=(BRIDGED.interface,)),
    links=(BRIDGED,),
    api=ApiAnswer(status=200, offset_seconds=0.2, uncertainty_seconds=0.5),
    agent=Agent(version="0.1.0", mode="enforce"),
    nova=NovaHost(name="compute1", files=("/etc/nova/nova.conf",)),
)


def result(host: Host, name: str) -> Result:
    return next(each for each in check(host) if each.name == name)


def test_a_host_on_which_all_is_well() -> None:
    results = check(GOOD)
    assert worst(results) is Code.SUCCESS, [each.line for each in results if each.code]
    assert len({each.name for each in results}) == len(results)


@pytest.mark.parametrize(
    ("name", "wrong", "code", "words"),
    [
        ("Control groups", {"groups": Groups(error="no cgroup hierarchy")}, Code.FAILURE, "Mount cgroup v2"),
        ("Control groups", {"groups": Groups(version=1, mount="/sys/fs/cgroup/cpu")}, Code.WARNING, "cpuset"),
        ("libvirt", {"hypervisor": "no such socket", "links": ()}, Code.FAILURE, "no such socket"),
        ("QEMU", {"hypervisor": "no such socket", "links": ()}, Code.WARNING, "not known"),
        ("Taps", {"hypervisor": "no such socket", "links": ()}, Code.WARNING, "libvirt cannot be asked"),
        ("Taps", {"links": ()}, Code.WARNING, "no instance with a network runs"),
        ("Network limits", {"link_limits_lack": (("bytes", "no ifb"),)}, Code.WARNING, "bytes are refused: no ifb"),
        ("Scheduler statistics", {"has_schedstat": False}, Code.FAILURE, "holds zeros"),
        ("Scheduler statistics", {"has_schedstat": None}, Code.FAILURE, "cannot be read"),
        ("Agent", {"agent": Agent(error="/run/xgos/xgos.sock: No such file")}, Code.WARNING, "systemctl enable --now"),
        ("Agent", {"agent": Agent(version="0.0.9", mode="enforce")}, Code.WARNING, "restart"),
        (
            "Agent",
            {"agent": Agent(version="0.1.0", mode="enforce", failing_sensors=("block",))},
            Code.WARNING,
            "failing sensors: block",
        ),
        ("Agent", {"agent": Agent(version="0.1.0", mode="observe")}, Code.SUCCESS, "enforces nothing"),
        ("stella-api", {"api": None}, Code.SUCCESS, "not linked"),
        ("stella-api", {"api": ApiAnswer(error="Connection refused")}, Code.FAILURE, "Connection refused"),
        ("stella-api", {"api": ApiAnswer(status=404)}, Code.FAILURE, "enroll it"),
        ("stella-api", {"api": ApiAnswer(status=503)}, Code.FAILURE, "HTTP 503"),
        ("Clock", {"api": ApiAnswer(status=200)}, Code.WARNING, "no date"),
        ("Clock", {"api": ApiAnswer(status=200, offset_seconds=-20.0)}, Code.WARNING, "20 s behind"),
        ("Clock", {"api": ApiAnswer(status=200, offset_seconds=400.0)}, Code.FAILURE, "400 s ahead of"),
        ("Clock", {"api": ApiAnswer(status=200, offset_seconds=9.0, uncertainty_seconds=6.0)}, Code.SUCCESS, "Within"),
        ("Nova's host name", {"nova": NovaHost(error="nova.conf: Permission denied")}, Code.WARNING, "--nova-conf"),
        ("Nova's host name", {"nova": NovaHost()}, Code.WARNING, "--nova-conf"),
        (
            "Nova's host name",
            {"nova": NovaHost(name="compute1.example.org", files=("nova.conf",))},
            Code.FAILURE,
            'api_host_name = "compute1.example.org"',
        ),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(name: str, wrong: dict[str, object], code: Code, words: str) -> None:
    found = result(replace(GOOD, **wrong), name)  # type: ignore[arg-type]
    assert (found.code, words in found.detail) == (code, True), found.line
    others = [each for each in check(replace(GOOD, **wrong)) if each.code > code]  # type: ignore[arg-type]
    assert not others or name in ("QEMU", "Taps")


def test_old_versions_are_named() -> None:
    old = replace(GOOD.hypervisor, libvirt=7_010_003, qemu=5_002_000)  # type: ignore[type-var]
    host = replace(GOOD, hypervisor=old)
    assert "7.10.3" in result(host, "libvirt").detail and "8.0.0" in result(host, "libvirt").detail
    assert "5.2.0" in result(host, "QEMU").detail and "6.2.0" in result(host, "QEMU").detail
    assert show_version(10_000_000) == "10.0.0"


def test_a_host_without_nova_needs_no_configuration_of_it() -> None:
    alone = replace(GOOD, hypervisor=replace(GOOD.hypervisor, of_nova=0), nova=NovaHost())  # type: ignore[type-var]
    assert result(alone, "Nova's host name").code is Code.SUCCESS


LIVE = """<domain><devices>
<interface type='bridge'><source bridge='qbr1'/><target dev='tap1'/></interface>
<interface type='bridge'><source bridge='br-int'/><virtualport type='openvswitch'/><target dev='tap2'/></interface>
<interface type='bridge'><source bridge='br-int'/><virtualport type='openvswitch'/><target dev='tap3'/></interface>
<interface type='direct'><source dev='eth0' mode='vepa'/><target dev='macvtap0'/></interface>
<interface type='vhostuser'><source type='unix' path='/run/vhu'/><target dev='vhu1'/></interface>
<interface type='hostdev' managed='yes'/>
<interface type='ethernet'><target dev='tap4'/></interface>
<interface type='ethernet'><target dev='tap5'/></interface>
<interface type='ethernet'><target dev='tap6'/></interface>
</devices></domain>"""
MASTERS = {
    "tap1": Master.BRIDGE,
    "tap2": Master.NONE,
    "tap3": Master.OPENVSWITCH,
    "macvtap0": Master.NONE,
    "vhu1": Master.NO_DEVICE,
    "tap4": Master.NONE,
    "tap5": Master.OTHER,
}
WAYS = [
    "bridge",
    "openvswitch-userspace",
    "openvswitch-kernel",
    "macvtap",
    "no-device",
    "no-device",
    "plain",
    "other",
    "hidden",
]


def test_how_each_link_is_plugged() -> None:
    assert [plugging(link) for link in links_of(parse_interfaces(LIVE), MASTERS)] == WAYS


@pytest.mark.parametrize("place", range(len(WAYS)))
def test_a_link_that_cannot_be_limited_or_counted_is_a_warning(place: int) -> None:
    links = (BRIDGED, links_of(parse_interfaces(LIVE), MASTERS)[place])
    found = result(replace(GOOD, links=links), "Taps")
    acts = WAYS[place] in ("bridge", "openvswitch-kernel", "plain", "other")
    assert found.code is (Code.SUCCESS if acts else Code.WARNING), found.line
    unknown = WAYS[place] in ("no-device", "hidden")
    assert ("UNKNOWN" in found.detail, "cannot act" in found.detail) == (unknown, not acts and not unknown)


def test_a_result_is_one_line_that_cannot_write_to_the_terminal() -> None:
    line = Result("Agent", Code.WARNING, "one\ntwo\x1b[31m three").line
    assert line == "Agent: Warning. one two?[31m three"
