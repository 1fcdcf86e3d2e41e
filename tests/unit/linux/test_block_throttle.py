"""Throttles as text and as libvirt takes them; which back end a disk lies on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.linux.block_source import backend_of
from stella.linux.block_throttle import (
    GROUP,
    NAMES,
    before_stella,
    group_of,
    parameters,
    parse_throttle,
    show_throttle,
)
from stella.linux.cgroup import InvalidText
from stella.linux.domain_xml import parse_domain
from stella.model.snapshot import NO_THROTTLE, BlockBackend, Throttle

limits = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10**12)).map(lambda d: tuple(sorted(d.items())))
throttles = st.builds(Throttle, limits=limits, group=st.text(max_size=20))


@given(throttles)
def test_the_text_and_the_mark_say_all(throttle: Throttle) -> None:
    assert parse_throttle(show_throttle(throttle)) == throttle
    ours = Throttle(limits=(("total_bytes_sec", 5),), group=group_of("vda", throttle))
    assert before_stella(ours) == throttle
    assert before_stella(parse_throttle(show_throttle(ours))) == throttle


@given(throttles, throttles)
def test_libvirt_is_told_what_is_to_go(throttle: Throttle, now: Throttle) -> None:
    told = parameters(throttle, now)
    assert {name: value for name, value in told.items() if value and name != GROUP} == dict(throttle.limits)
    assert {name for name, value in told.items() if not value} == dict(now.limits).keys() - dict(throttle.limits).keys()


@pytest.mark.parametrize(
    "group", ["", "vms", "stella", "stella.vda", "stella..none", "stella.vda.nothing", "stella.vda.-zz"]
)
def test_groups_of_others_are_not_stellas(group: str) -> None:
    assert before_stella(Throttle(limits=(("total_bytes_sec", 5),), group=group)) is None


@pytest.mark.parametrize("text", ["", "total_bytes_sec", "total_bytes_sec x", "total_bytes_sec 0", "speed 5"])
def test_what_is_no_throttle(text: str) -> None:
    with pytest.raises(InvalidText):
        parse_throttle(text)


XML = """<domain><vcpu>1</vcpu><devices>
<disk type='file' device='disk'><source file='/var/lib/nova/instances/a/disk'/><target dev='vda'/>
 <iotune><total_bytes_sec>100</total_bytes_sec><read_iops_sec>0</read_iops_sec><group_name>g 1</group_name></iotune></disk>
<disk type='network' device='disk'>
 <source protocol='nbd' name='x'><host name='10.0.0.5' port='10809'/></source><target dev='vdb'/></disk>
<disk type='network' device='disk'>
 <source protocol='nbd'><host transport='unix' socket='/run/n.sock'/></source><target dev='vdc'/></disk>
<disk type='network' device='disk'><source protocol='rbd' name='vms/a_disk'/><target dev='vdd'/></disk>
<disk type='file' device='cdrom'><target dev='sda'/></disk></devices></domain>"""


def test_disks_of_the_domain_and_the_back_ends_they_lie_on() -> None:
    disks = {disk.name: disk for disk in parse_domain(XML).block}
    assert disks["vda"].throttle == Throttle(limits=(("total_bytes_sec", 100),), group="g 1")
    assert disks["sda"].device == "cdrom" and disks["vdb"].throttle == NO_THROTTLE
    backends = [
        BlockBackend(name=name, sources=sources, capacity_bytes_per_second=1.0)
        for name, sources in {
            "all": ("/var/lib",),
            "nova": ("/var/lib/nova/instances/", "nbd:10.0.0.5:10809"),
            "local": ("nbd:/run/n.sock",),
            "ceph": ("rbd:vms",),
        }.items()
    ]
    assert {name: backend_of(disk.sources, backends) for name, disk in disks.items()} == {
        "vda": "nova", "vdb": "nova", "vdc": "local", "vdd": "ceph", "sda": "",
    }  # fmt: skip
    assert backend_of(["/var/library/x"], backends) == "", "a name ends at a slash"
