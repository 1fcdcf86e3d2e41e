"""Which process is an instance's QEMU: never one that merely says so on its command line.

libvirt's pid file is asked first; it lies in a run directory that another mount namespace may hide, so all processes are
looked through when it is not there. In both cases the process must name the instance's uuid, run a QEMU program, and run as a
user whom libvirt gives to QEMU; one found without a pid file must also be in the group that libvirt made for this domain.
An ordinary user can write any command line, and give any name to a program, but neither change the user nor enter that group.
"""

from dataclasses import dataclass

from stella.linux import libvirt_groups, process
from stella.linux.cgroup import InvalidText
from stella.xgos.host_files import HostFiles, Unavailable

_RUN_DIRECTORIES = ("/run/libvirt/qemu", "/var/run/libvirt/qemu")
_QEMU_USERS = ("libvirt-qemu", "qemu")
_QEMU_CONFIGURATION = "/etc/libvirt/qemu.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuProcess:
    """A process by its number and the moment of its start (field 22 of /proc/PID/stat), which no later one shares."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The domain whose process is wanted. ``emulator`` and ``uid`` are what its XML says of them."""

    uuid: str
    name: str
    domain_id: int
    emulator: str = ""
    uid: int | None = None


def start_ticks(files: HostFiles, pid: int) -> int:
    """When a process began. Raises `Gone` or `Unavailable`."""
    try:
        return process.parse_start_ticks(files.read(f"/proc/{pid}/task/{pid}/stat"))
    except InvalidText as error:
        raise Unavailable(str(error)) from None


def find_processes(files: HostFiles, domains: tuple[Wanted, ...]) -> dict[str, QemuProcess]:
    """The processes of these domains by uuid; those that are not found, or not for sure, are left out. Raises `Unavailable`."""
    users = _qemu_uids(files)
    found: dict[str, QemuProcess] = {}
    for domain in domains:
        if (listed := _from_pid_file(files, domain, users)) is not None:
            found[domain.uuid] = listed
    missing = {domain.uuid: domain for domain in domains if domain.uuid not in found}
    if missing:
        for uuid, candidates in _candidates(files, missing, users).items():
            if (chosen := _choose(files, candidates, missing[uuid])) is not None:
                found[uuid] = chosen
    return found


def _from_pid_file(files: HostFiles, domain: Wanted, users: frozenset[int]) -> QemuProcess | None:
    if "/" in domain.name or domain.name.startswith("."):
        return None
    for directory in _RUN_DIRECTORIES:
        try:
            text = files.read(f"{directory}/{domain.name}.pid").strip()
        except Unavailable:
            continue
        if (
            text.isascii() and text.isdigit()
        ):  # of an earlier run, or of another process namespace: the process itself is asked
            found = _verified(files, int(text), domain, users)
            if found is not None:
                return found
    return None


def _candidates(files: HostFiles, wanted: dict[str, Wanted], users: frozenset[int]) -> dict[str, list[QemuProcess]]:
    found: dict[str, list[QemuProcess]] = {}
    for name in files.names("/proc"):
        if not name.isdigit():
            continue
        try:
            uuid = process.qemu_uuid(files.read_bytes(f"/proc/{name}/cmdline"))
            domain = wanted.get(uuid) if uuid else None
        except Unavailable:
            continue
        verified = _verified(files, int(name), domain, users, in_group=True) if domain else None
        if verified is not None:
            found.setdefault(uuid or "", []).append(verified)
    return found


def _verified(
    files: HostFiles, pid: int, domain: Wanted, users: frozenset[int], *, in_group: bool = False
) -> QemuProcess | None:
    """The process, if it is this domain's QEMU in all that can be asked of it, and the same one from first to last.

    ``in_group``: it must also be in the group that libvirt made for the domain.
    """
    try:
        began = start_ticks(files, pid)
        allowed = users if domain.uid is None else frozenset((0, domain.uid))
        same = (
            process.qemu_uuid(files.read_bytes(f"/proc/{pid}/cmdline")) == domain.uuid
            and set(process.parse_uids(files.read(f"/proc/{pid}/status"))) <= allowed
            and _runs_qemu(files, pid, domain)
            and (not in_group or _in_its_group(files, pid, domain))
            and start_ticks(files, pid) == began
        )
    except (Unavailable, InvalidText):
        return None
    return QemuProcess(pid=pid, start_ticks=began) if same else None


def _runs_qemu(files: HostFiles, pid: int, domain: Wanted) -> bool:
    """By its program file. Without CAP_SYS_PTRACE that of another user is not shown: then the user decides."""
    try:
        program = files.link_target(f"/proc/{pid}/exe")
    except PermissionError:
        return True
    except OSError as error:
        raise Unavailable(f"/proc/{pid}/exe: {error.strerror or error}") from None
    name = program.removesuffix(" (deleted)").rpartition("/")[2]
    return process.is_qemu_program(name) or (bool(domain.emulator) and name == domain.emulator.rpartition("/")[2])


def _in_its_group(files: HostFiles, pid: int, domain: Wanted) -> bool:
    text = files.read(f"/proc/{pid}/cgroup")
    paths = (line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2)
    return any(libvirt_groups.belongs_to(path, domain.domain_id, domain.name) for path in paths)


def _choose(files: HostFiles, found: list[QemuProcess], domain: Wanted) -> QemuProcess | None:
    """Of several processes with one uuid (a migration within one machine) the one that libvirt's directory names."""
    if len(found) == 1:
        return found[0]
    for mark in (f"/domain-{domain.domain_id}-{domain.name}/".encode(), f"/domain-{domain.domain_id}-".encode()):
        marked = []
        for each in found:
            try:
                if mark in files.read_bytes(f"/proc/{each.pid}/cmdline"):
                    marked.append(each)
            except Unavailable:
                continue
        if len(marked) == 1:
            return marked[0]
    return None


def _qemu_uids(files: HostFiles) -> frozenset[int]:
    """Whom libvirt runs QEMU as when a domain's XML does not say: root, its packages' users, and the configured one."""
    names, uids = set(_QEMU_USERS), {0}
    try:
        configured = libvirt_groups.parse_qemu_user(files.read(_QEMU_CONFIGURATION))
    except Unavailable:
        configured = None
    if configured is not None:
        names.add(configured)
        if (number := configured.removeprefix("+")).isdigit() and number.isascii():
            uids.add(int(number))
    try:
        passwd = files.read("/etc/passwd", largest_bytes=1 << 20)
    except Unavailable:
        return frozenset(uids)
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] in names and fields[2].isascii() and fields[2].isdigit():
            uids.add(int(fields[2]))
    return frozenset(uids)
