"""The CPU controller's text and libvirt's group names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.linux import cgroup, libvirt_groups
from stella.model.snapshot import Quota, Role

V1_APART = """31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_TOGETHER = "35 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_hybrid_host_uses_the_v1_controller_before_the_empty_v2_one() -> None:
    found = cgroup.parse_mountinfo(V1_APART)
    assert [(h.version, h.mount) for h in found] == [(1, "/sys/fs/cgroup/cpu"), (2, "/sys/fs/cgroup/unified")]
    assert cgroup.parse_mountinfo(V1_TOGETHER)[0].mount == "/sys/fs/cgroup/cpu,cpuacct"
    assert cgroup.parse_mountinfo(V2)[0].version == 2
    assert cgroup.parse_mountinfo("garbage\n") == ()


def test_mount_point_with_a_blank() -> None:
    text = "32 31 0:29 / /a\\040b rw - cgroup cgroup rw,cpu\n"
    assert cgroup.parse_mountinfo(text)[0].mount == "/a b"


def test_mount_of_a_group_below_the_root() -> None:
    hierarchy = cgroup.Hierarchy(version=1, mount="/sys/fs/cgroup/cpu", root="/host2")
    assert hierarchy.below_mount("/host2/machine/x") == "/machine/x"
    assert hierarchy.below_mount("/host2") == "/"
    assert hierarchy.below_mount("/host22/x") is None


def test_mount_of_a_group_above_the_namespace() -> None:
    hierarchy = cgroup.Hierarchy(version=2, mount="/host", root="/../..")
    assert hierarchy.below_mount("/../../machine.slice/x") == "/machine.slice/x"
    assert hierarchy.below_mount("/../..") == "/"
    assert hierarchy.below_mount("/../neighbour") is None  # its parent's name is not known here
    assert hierarchy.below_mount("/mine") is None
    assert cgroup.Hierarchy(version=2, mount="/host", root="/").below_mount("/../outside") is None


def test_a_mount_that_another_covers_is_left_out() -> None:
    text = (
        "44 43 254:0 / / rw - ext4 /dev/vda rw\n"
        "47 44 0:22 / /sys rw - sysfs sysfs rw\n"
        "48 47 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "49 48 0:29 /.. /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "60 47 0:22 / /sys rw - sysfs sysfs rw\n"
        "65 60 0:39 / /sys/fs/cgroup rw - tmpfs cg rw\n"
        "66 65 0:29 / /sys/fs/cgroup/cpu rw - cgroup cg rw,cpu\n"
    )
    assert [(h.mount, h.root) for h in cgroup.parse_mountinfo(text)] == [("/sys/fs/cgroup/cpu", "/")]
    stacked = V1_APART + "50 32 0:29 /host /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    assert cgroup.parse_mountinfo(stacked)[0].root == "/host"


def test_a_host_that_runs_from_its_initramfs() -> None:
    text = (
        "1 1 0:2 / / rw - rootfs none rw\n"
        "22 1 0:20 / /sys rw - sysfs sys rw\n"
        "25 22 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    )
    assert [h.mount for h in cgroup.parse_mountinfo(text)] == ["/sys/fs/cgroup"]


def test_path_of_a_process() -> None:
    text = "12:cpuset:/a\n3:cpu,cpuacct:/machine/q\n0::/unified/path\n"
    assert cgroup.parse_process_cgroup(text, 1) == "/machine/q"
    assert cgroup.parse_process_cgroup(text, 2) == "/unified/path"
    assert cgroup.parse_process_cgroup("1:name=systemd:/\n", 1) is None


quotas = st.builds(
    Quota,
    quota_us=st.none() | st.integers(1000, 10**8),
    period_us=st.integers(cgroup.SMALLEST_PERIOD_US, cgroup.LARGEST_PERIOD_US),
)


@given(quotas)
def test_quota_round_trip(quota: Quota) -> None:
    assert cgroup.parse_quota_v2(cgroup.show_quota_v2(quota)) == quota
    assert cgroup.parse_quota_v1(cgroup.show_quota_v1(quota), str(quota.period_us)) == quota


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_weights_are_clamped(weight: float) -> None:
    assert 2 <= cgroup.V1.clamp(weight) <= 262_144
    assert 1 <= cgroup.V2.clamp(weight) <= 10_000


def test_no_quota_and_garbage() -> None:
    assert cgroup.parse_quota_v2("max 100000\n").quota_us is None
    assert cgroup.parse_quota_v2("50000").period_us == 100_000
    assert cgroup.parse_quota_v1("-1\n", "100000\n").quota_us is None
    for text in ("", "fast 100000", "1 2x"):
        with pytest.raises(cgroup.InvalidText):
            cgroup.parse_quota_v2(text)
    with pytest.raises(cgroup.InvalidText):
        cgroup.parse_weight("")


def test_throttled_time_of_both_versions() -> None:
    assert cgroup.parse_throttled_seconds("nr_periods 2\nthrottled_time 1500000000\n") == 1.5
    assert cgroup.parse_throttled_seconds("usage_usec 9\nthrottled_usec 2000000\n") == 2.0
    assert cgroup.parse_throttled_seconds("usage_usec 9\n") is None


@pytest.mark.parametrize(
    ("path", "own", "inner"),
    [
        ("/machine/qemu-1-web.libvirt-qemu/emulator", "/machine/qemu-1-web.libvirt-qemu", None),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator",
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope",
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt",
        ),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/vcpu3",
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope",
            None,
        ),
        (
            "/a.partition/b.partition/qemu-9-x.libvirt-qemu/iothread1",
            "/a.partition/b.partition/qemu-9-x.libvirt-qemu",
            None,
        ),
        ("/libvirt/qemu/web/emulator", "/libvirt/qemu/web", None),
    ],
)
def test_instance_groups_of_every_layout(path: str, own: str, inner: str | None) -> None:
    found = libvirt_groups.instance_group(path)
    assert found == libvirt_groups.InstanceGroup(path=own, inner=inner or own)


@pytest.mark.parametrize("path", ["/", "/emulator", "/machine", "/machine.slice", "/system.slice", "/lab.partition"])
def test_shared_groups_are_nobodys_own(path: str) -> None:
    assert libvirt_groups.instance_group(path) is None


def test_inner_names() -> None:
    assert libvirt_groups.parse_inner("vcpu12") == (Role.VCPU, 12)
    assert libvirt_groups.parse_inner("iothread3") == (Role.IOTHREAD, 3)
    assert libvirt_groups.parse_inner("emulator") == (Role.EMULATOR, 0)
    assert libvirt_groups.parse_inner("vcpu") is None
    assert libvirt_groups.parents("/a/b/c") == ("/a", "/a/b")
    assert libvirt_groups.parents("/a") == ()


@pytest.mark.parametrize(
    ("path", "belongs"),
    [
        ("/machine/qemu-7-web.libvirt-qemu/emulator", True),
        ("/machine.slice/machine-qemu\\x2d7\\x2dweb.scope/libvirt/vcpu0", True),
        ("/libvirt/qemu/web/emulator", True),
        ("/machine/qemu-17-web.libvirt-qemu/emulator", False),
        ("/user.slice/user-1000.slice/session-7.scope", False),
        ("/libvirt/qemu/webs", False),
        ("/", False),
    ],
)
def test_the_group_of_a_domain(path: str, belongs: bool) -> None:
    assert libvirt_groups.belongs_to(path, 7, "web") is belongs


def test_the_user_in_qemu_conf() -> None:
    assert libvirt_groups.parse_qemu_user('#user = "a"\nuser = "nova"\ngroup = "b"\n') == "nova"
    assert libvirt_groups.parse_qemu_user("user = '+107' # x\n") == "+107"
    assert libvirt_groups.parse_qemu_user("user_x = 1\n") is None
