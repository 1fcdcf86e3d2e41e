"""The CPU hierarchy of the host, and the groups of one instance with what their knobs hold."""

from stella.linux import cgroup, cpuset, libvirt_groups
from stella.model.snapshot import GroupReading, Role
from stella.xgos.host_files import Broken, Gone, HostFiles, KeptFile, Unavailable

REFRESH_SECONDS = 5.0
RETRY_SECONDS = 1.0
_LARGEST_MOUNTINFO_BYTES = 1 << 24
_LARGEST_TASKS_BYTES = 1 << 20
CPU_LIST_BYTES = 8192
"""Enough for every second of 1500 CPUs."""


def find_hierarchy(files: HostFiles, controller: str = "cpu") -> cgroup.Hierarchy:
    """Where a controller is: a v1 mount, or a cgroup2 mount that has it. Raises `Broken`."""
    try:
        text = files.read("/proc/self/mountinfo", largest_bytes=_LARGEST_MOUNTINFO_BYTES)
        candidates = cgroup.parse_mountinfo(text, controller)
    except Unavailable as error:
        raise Broken(f"cannot find the {controller} hierarchy: {error}") from None
    for hierarchy in candidates:
        if hierarchy.version == 1:
            if files.exists(f"{hierarchy.mount}/cgroup.procs"):
                return hierarchy
            continue
        try:
            if controller in files.read(f"{hierarchy.mount}/cgroup.controllers").split():
                return hierarchy
        except Unavailable:
            continue
    raise Broken(f"no cgroup hierarchy with the {controller} controller is mounted here")


def find_cpuset(files: HostFiles) -> str:
    """Where the cpuset hierarchy is mounted; empty when there is none, or when it is another tree than this host's groups."""
    try:
        return find_hierarchy(files, "cpuset").mount
    except Broken:
        return ""


class Group:
    """One cgroup, its knobs held open: two or three preads a pass; its throttled time and burst while there is a quota."""

    __slots__ = (
        "_burst",
        "_burst_us",
        "_cpus",
        "_period",
        "_quota",
        "_reading",
        "_stat",
        "_texts",
        "_throttled_seconds",
        "_version",
        "_weight",
        "index",
        "path",
        "role",
    )

    def __init__(
        self,
        files: HostFiles,
        hierarchy: cgroup.Hierarchy,
        path: str,
        role: Role | None = None,
        index: int = 0,
        cpuset_mount: str = "",
    ) -> None:
        names = cgroup.files(hierarchy.version)
        directory = hierarchy.mount + path
        self.path, self.role, self.index = path, role, index
        self._version = hierarchy.version
        self._weight = files.keep(f"{directory}/{names.weight}")
        self._quota = files.keep(f"{directory}/{names.quota}")
        self._period: KeptFile | None = files.keep(f"{directory}/{names.period}") if self._version == 1 else None
        self._stat = files.keep(f"{directory}/{names.stat}")
        burst = f"{directory}/{names.burst}"
        self._burst = files.keep(burst) if role and files.exists(burst) else None
        self._burst_us = 0
        cpus = f"{cpuset_mount}{path}/{cgroup.CPUSET}"
        self._cpus = files.keep(cpus) if role and cpuset_mount and files.exists(cpus) else None
        self._throttled_seconds: float | None = None
        self._reading: GroupReading | None = None
        self._texts: tuple[bytes, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read what cannot change without a quota. Raises `Gone` or `Unavailable`."""
        try:
            self._throttled_seconds = cgroup.parse_throttled_seconds(self._stat.read(4096).decode(errors="replace"))
            self._burst_us = int(self._burst.read()) if self._burst else 0
        except ValueError as error:  # InvalidText is one
            raise Unavailable(f"{self.path}: {error}") from None

    def read(self) -> GroupReading:
        """What its knobs hold now. Raises `Gone` or `Unavailable`."""
        texts = (
            self._weight.read(),
            self._quota.read(),
            self._period.read() if self._period else b"",
            self._read_cpus(self._cpus) if self._cpus else b"",
        )
        if self._reading is None or texts != self._texts or self._reading.quota.quota_us is not None:
            self._reading, self._texts = self._parse(*texts), texts
        return self._reading

    def _read_cpus(self, file: KeptFile) -> bytes:
        """A list of CPUs: most are short, and a large buffer costs more than the read."""
        text = file.read()
        return text if text.endswith(b"\n") else file.read(CPU_LIST_BYTES)

    def _parse(self, weight_text: bytes, quota_text: bytes, period_text: bytes, cpus_text: bytes) -> GroupReading:
        try:
            weight = int(weight_text)
            if self._version == 2:
                quota = cgroup.parse_quota_v2(quota_text.decode())
            else:
                quota = cgroup.parse_quota_v1(quota_text.decode(), period_text.decode())
            if quota.quota_us is not None:
                self.refresh()
            cpus = cpuset.parse_cpus(cpus_text.decode()) if self._cpus else None
        except ValueError as error:  # InvalidText is one
            raise Unavailable(f"{self.path}: {error}") from None
        return GroupReading(
            path=self.path,
            role=self.role,
            index=self.index,
            weight=weight,
            quota=quota,
            throttled_seconds=self._throttled_seconds,
            cpus=cpus,
            burst_us=self._burst_us,
        )


class Groups:
    """The groups of one instance: its own, and one for each vCPU, the emulator and each iothread."""

    def __init__(
        self,
        files: HostFiles,
        hierarchy: cgroup.Hierarchy,
        pid: int,
        *,
        cpuset_mount: str,
        first_refresh_seconds: float,
    ) -> None:
        """``first_refresh_seconds``: monotonic time of the first re-read. Raises `Gone` or `Unavailable`."""
        self._files = files
        self._hierarchy = hierarchy
        self._cpuset_mount = cpuset_mount
        self._pid = pid
        self._next_refresh = first_refresh_seconds
        self._groups: dict[str, Group] = {}
        self._found: libvirt_groups.InstanceGroup | None = None
        self._refresh()

    @property
    def path(self) -> str:
        """The instance's own group."""
        return self._found.path if self._found else "/"

    def refresh_soon(self) -> None:
        """Look for groups that came at the next `read`: something changed."""
        self._next_refresh = 0.0

    def read(self, monotonic_seconds: float) -> tuple[GroupReading, ...]:
        """Own group first. Raises `Gone` when it is gone, `Unavailable` when it cannot be read."""
        if monotonic_seconds >= self._next_refresh:
            self._next_refresh = monotonic_seconds + REFRESH_SECONDS
            self._refresh()
        try:
            return tuple(group.read() for group in self._groups.values())
        except Gone:  # a vCPU was unplugged, or all is gone
            self._groups = {}
            self._refresh()
            return tuple(group.read() for group in self._groups.values())

    def _refresh(self) -> None:
        names = f"/proc/{self._pid}/cgroup"
        path = cgroup.parse_process_cgroup(self._files.read(names), self._hierarchy.version)
        below = self._hierarchy.below_mount(path) if path else None
        found = libvirt_groups.instance_group(below) if below else None
        if found is None:
            raise Unavailable(f"process {self._pid} has no CPU group of its own (it is in {path})")
        old = self._groups if found == self._found else {}
        wanted: dict[str, tuple[Role | None, int]] = {found.path: (None, 0)}
        inner = []
        for name in self._files.directories(self._hierarchy.mount + found.inner):
            role = libvirt_groups.parse_inner(name)
            if role:
                inner.append((*role, f"{found.inner}/{name}"))
        wanted.update({path: (role, index) for role, index, path in sorted(inner, key=lambda each: each[:2])})
        groups = {}
        for each, (kind, index) in wanted.items():
            groups[each] = old.get(each) or Group(self._files, self._hierarchy, each, kind, index, self._cpuset_mount)
        self._groups, self._found = groups, found

    def thread_roles(self) -> dict[int, tuple[Role, int]]:
        """Thread numbers by the inner group they are in: tells roles where names do not, and shows vhost's kernel threads."""
        roles: dict[int, tuple[Role, int]] = {}
        tasks = cgroup.files(self._hierarchy.version).tasks
        for group in self._groups.values():
            if group.role is None:
                continue
            try:
                path = f"{self._hierarchy.mount}{group.path}/{tasks}"
                text = self._files.read(path, largest_bytes=_LARGEST_TASKS_BYTES)
            except Unavailable:
                continue
            roles.update({int(tid): (group.role, group.index) for tid in text.split() if tid.isdigit()})
        return roles
