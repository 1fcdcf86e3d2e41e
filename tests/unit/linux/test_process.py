"""Text of /proc, libvirt's XML, rtnetlink and sched_attr."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.linux import cgroup, cpuset, domain_xml, libvirt_groups, process, rtnetlink
from stella.linux.cgroup import InvalidText
from stella.model.snapshot import NO_THROTTLE, Role

STAT = "15255 (CPU 0/TCG) S 15249 15245 13751 0 -1 138412224 11 0 0 0 0 0 0 0 20 0 5 0 145420 1538375680 9789"


def test_start_ticks_with_brackets_in_the_name() -> None:
    assert process.parse_start_ticks(STAT) == 145420
    assert process.parse_start_ticks(STAT.replace("CPU 0/TCG", "a) S (b) R 1")) == 145420
    for text in ("", "1 (x) S 2", "12 no brackets"):
        with pytest.raises(InvalidText):
            process.parse_start_ticks(text)


@pytest.mark.parametrize(
    ("comm", "role"),
    [
        ("CPU 0/TCG", (Role.VCPU, 0)),
        ("CPU 17/KVM", (Role.VCPU, 17)),
        ("IO iothread1", (Role.IOTHREAD, 1)),
        ("IO mon_iothread", None),
        ("vhost-1234", (Role.VHOST, 0)),
        ("qemu-system-x86", None),
        ("worker", None),
        ("call_rcu", None),
    ],
)
def test_thread_names(comm: str, role: tuple[Role, int] | None) -> None:
    assert process.parse_thread_name(comm) == role


def test_migration_threads() -> None:
    assert all(map(process.is_migration_thread, ("live_migration", "mig/src/main", "multifdsend_0", "migration")))
    assert not any(
        map(process.is_migration_thread, ("CPU 0/KVM", "qemu-system-x86", "migration-watch", "mig/dst/recv"))
    )


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_schedstat(run_ns: int, wait_ns: int) -> None:
    assert process.parse_schedstat(f"{run_ns} {wait_ns} 7\n".encode()) == (run_ns * 1e-9, wait_ns * 1e-9)


def test_schedstat_garbage() -> None:
    for text in (b"", b"1", b"a b c"):
        with pytest.raises(InvalidText):
            process.parse_schedstat(text)


def test_cpu_times() -> None:
    text = "cpu  9 9 9 9\ncpu0 1 2 3 4\ncpu7 6788 10 4071 278829 521 3 86 12 5 0\nintr 1\n"
    ticks = process.parse_cpu_ticks(text)
    assert list(ticks) == [0, 7]
    assert ticks[0] == process.CpuTicks(busy=6, idle=4, softirq=0, steal=0)
    assert ticks[7] == process.CpuTicks(busy=6788 + 10 + 4071 + 3 + 86, idle=279350, softirq=86, steal=12)
    for garbage in ("", "cpu 1 2 3\n", "cpu0 1 x\n", "cpu0x 1\n"):
        with pytest.raises(InvalidText):
            process.parse_cpu_ticks(garbage)


def test_where_the_cpu_lines_end() -> None:
    assert process.cpu_lines_complete(b"cpu 1\ncpu0 1\nintr 1 0 0")
    assert not any(map(process.cpu_lines_complete, (b"", b"cpu 1\n", b"cpu 1\ncpu0 1\nc", b"cpu 1\ncp")))


def test_cpus_allowed() -> None:
    assert process.parse_allowed_cpus("Name:\tinit\nCpus_allowed:\t5\nCpus_allowed_list:\t0,2\n") == (0, 2)
    assert process.parse_allowed_cpus("Name:\tinit\n") is None


def test_domain_xml() -> None:
    text = """<domain><vcpu placement='static' current='2'>4</vcpu><iothreads>1</iothreads><devices>
      <disk type='file'><target dev='vda' bus='virtio'/></disk>
      <interface type='ethernet'><target dev='tap0' managed='no'/></interface>
      <interface type='hostdev'><mac address='x'/></interface></devices></domain>"""
    vda = domain_xml.DiskXml(name="vda", device="disk", kind="file", sources=(), throttle=NO_THROTTLE)
    assert domain_xml.parse_domain(text) == domain_xml.DomainXml(
        vcpus=2, iothreads=1, links=("tap0",), disks=("vda",), block=(vda,)
    )
    assert domain_xml.parse_domain("<domain><vcpu>3</vcpu></domain>").vcpus == 3
    for broken in ("<domain>", "", "<domain><vcpu>x</vcpu></domain>"):
        with pytest.raises(InvalidText):
            domain_xml.parse_domain(broken)


NOVA = """<domain><metadata>
  <other:thing xmlns:other="urn:x"><other:owner/></other:thing>
  <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/{version}">
    <nova:name>web</nova:name>
    <nova:flavor name="m1.small"><nova:memory>2048</nova:memory></nova:flavor>
    <nova:owner><nova:user uuid="u1">a</nova:user><nova:project uuid="9a7b6c5d">demo</nova:project></nova:owner>
  </nova:instance></metadata>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
  <seclabel type='dynamic' model='apparmor'><label>libvirt-1</label></seclabel>
  <seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+108</label></seclabel></domain>"""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nova_metadata(version: str) -> None:
    found = domain_xml.parse_domain(NOVA.format(version=version))
    assert (found.project, found.flavor, found.title) == ("9a7b6c5d", "m1.small", "web")
    assert (found.emulator, found.uid) == ("/usr/bin/qemu-system-x86_64", 64055)


@pytest.mark.parametrize("name", ["a&#10;b", "x" * 256, ""])
def test_a_name_that_cannot_be_shown_is_left_out(name: str) -> None:
    found = domain_xml.parse_domain(NOVA.format(version="1.1").replace("m1.small", name))
    assert (found.project, found.flavor) == ("9a7b6c5d", "")


def test_domain_xml_has_no_entities_and_an_end() -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><domain><name>&b;</name></domain>'
    for text in (bomb, "<domain>" + " " * domain_xml.LARGEST_CHARACTERS + "</domain>", "<domain>\ud800</domain>"):
        with pytest.raises(InvalidText):
            domain_xml.parse_domain(text)


@given(st.text(max_size=200))
def test_text_of_proc_and_libvirt_that_is_garbage_is_refused(text: str) -> None:
    for parse in (
        process.parse_start_ticks,
        process.parse_scheduling,
        process.parse_cpu_ticks,
        process.parse_allowed_cpus,
        process.parse_uids,
        domain_xml.parse_domain,
        cpuset.parse_cpus,
        cgroup.parse_throttled_seconds,
        cgroup.parse_quota_v2,
        cgroup.parse_weight,
    ):
        with contextlib.suppress(InvalidText):
            parse(text)
    cgroup.parse_mountinfo(text)
    cgroup.parse_process_cgroup(text, 1)
    libvirt_groups.instance_group(text)
    libvirt_groups.belongs_to(text, 1, "a")
    libvirt_groups.parse_qemu_user(text)
    process.qemu_uuid(text.encode())


def test_users_of_a_process() -> None:
    assert process.parse_uids("Name:\tq\nUid:\t1000\t0\t0\t0\n") == (1000, 0, 0, 0)
    for text in ("", "Uid:\n", "Uid:\tx\n"):
        with pytest.raises(InvalidText):
            process.parse_uids(text)


def test_programs() -> None:
    assert all(map(process.is_qemu_program, ("qemu-system-x86_64", "qemu-kvm", "kvm")))
    assert not any(map(process.is_qemu_program, ("python3", "qemu-img", "sh", "not-qemu-kvm")))


counter = st.integers(0, 2**64 - 1)
links = st.dictionaries(st.integers(1, 2**31 - 1), st.builds(rtnetlink.LinkCounters, *[counter] * 8), max_size=20)


@given(links, st.integers(1, 2**31 - 1))
def test_netlink_round_trip(expected: dict[int, rtnetlink.LinkCounters], sequence: int) -> None:
    found: dict[int, rtnetlink.LinkCounters] = {}
    assert rtnetlink.parse_stats(rtnetlink.show_stats(sequence, expected), sequence, found) == (False, False)
    assert rtnetlink.parse_stats(rtnetlink.show_done(sequence), sequence, found) == (True, False)
    assert rtnetlink.parse_stats(rtnetlink.show_done(sequence, interrupted=True), sequence, found) == (True, True)
    assert found == expected


@given(st.binary(max_size=200))
def test_netlink_garbage_ends(data: bytes) -> None:
    with contextlib.suppress(rtnetlink.NetlinkError):
        rtnetlink.parse_stats(data, 1, {})


def test_netlink_passes_over_an_earlier_answer() -> None:
    found: dict[int, rtnetlink.LinkCounters] = {}
    late = rtnetlink.show_stats(1, {5: rtnetlink.LinkCounters(*range(8))}) + rtnetlink.show_done(1)
    assert rtnetlink.parse_stats(late, 2, found) == (False, False)
    assert found == {}
