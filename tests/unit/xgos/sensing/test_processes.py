"""Which process is an instance's QEMU: decoys are not taken."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from stella.xgos.host_files import HostFiles
from stella.xgos.sensing.processes import QemuProcess, Wanted, find_processes, start_ticks

UUID = "52ebd123-5a23-5bef-b643-2832e739bfb0"
WEB = Wanted(uuid=UUID, name="web", domain_id=7)
GROUP = "/machine.slice/machine-qemu\\x2d7\\x2dweb.scope/libvirt/emulator"
QEMU_UID = 64055


@dataclass
class Host:
    """A tree with processes."""

    root: Path
    files: HostFiles = field(init=False)

    def __post_init__(self) -> None:
        (self.root / "proc").mkdir(parents=True)
        (self.root / "etc").mkdir()
        (self.root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:{QEMU_UID}:108::/:/bin/false\n")
        self.files = HostFiles(str(self.root))

    def process(
        self,
        pid: int,
        *,
        uid: int = QEMU_UID,
        exe: str = "/usr/bin/qemu-system-x86_64",
        group: str = GROUP,
        uuid: str = UUID,
        began: int = 500,
        directory: str = "domain-7-web",
        real_uid: int | None = None,
    ) -> QemuProcess:
        """One more process; by default the real one of `WEB`."""
        task = self.root / f"proc/{pid}/task/{pid}"
        task.mkdir(parents=True, exist_ok=True)
        words = ["qemu", "-name", "guest=web", "-uuid", uuid, f"file=/var/lib/libvirt/qemu/{directory}/key.aes", ""]
        (self.root / f"proc/{pid}/cmdline").write_text("\0".join(words))
        uids = "\t".join(map(str, (uid if real_uid is None else real_uid, uid, uid, uid)))
        (self.root / f"proc/{pid}/status").write_text(f"Name:\tqemu\nUid:\t{uids}\n")
        (self.root / f"proc/{pid}/cgroup").write_text(f"0::{group}\n")
        link = self.root / f"proc/{pid}/exe"
        link.unlink(missing_ok=True)
        link.symlink_to(exe)
        (task / "stat").write_text(f"{pid} (qemu) S " + "0 " * 18 + f"{began} 0 0\n")
        return QemuProcess(pid=pid, start_ticks=began)

    def pid_file(self, name: str, text: str) -> None:
        directory = self.root / "run/libvirt/qemu"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.pid").write_text(text)

    def find(self, domain: Wanted = WEB) -> QemuProcess | None:
        return find_processes(self.files, (domain,)).get(domain.uuid)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def test_by_libvirts_pid_file(host: Host) -> None:
    real = host.process(11)
    host.process(10)  # it would be ambiguous without the file
    host.pid_file("web", "11\n")
    assert host.find() == real
    assert start_ticks(host.files, 11) == 500


@pytest.mark.parametrize("text", ["", "0x1", "99", "12", "-1", "9" * 30])
def test_a_pid_file_of_an_earlier_run_is_not_believed(host: Host, text: str) -> None:
    host.pid_file("web", text)
    host.process(12, uuid="00000000-0000-4000-8000-000000000000")
    assert host.find() is None
    real = host.process(11)
    assert host.find() == real, "the pid file lies in another process namespace: all processes are looked through"


def test_a_domain_may_have_any_name(host: Host) -> None:
    host.pid_file("web", "11")
    real = host.process(11)
    for name in ("../web", "../../etc/passwd", ".web"):
        assert host.find(replace(WEB, name=name)) == real


@pytest.mark.parametrize(
    "decoy",
    [
        {"uid": 1000, "group": "/user.slice/user-1000.slice/session-1.scope"},
        {"uid": 1000, "group": "/user.slice/user-1000.slice/user@1000.service/machine-qemu\\x2d7\\x2dweb.scope"},
        {"uid": 1000, "exe": "/home/mallory/qemu-system-x86_64"},
        {"uid": 0, "real_uid": 1000},
        {"exe": "/usr/bin/python3"},
        {"group": "/system.slice/ssh.service"},
        {"group": "/machine.slice/machine-qemu\\x2d8\\x2dweb.scope/libvirt/emulator"},
        {"uuid": UUID.replace("5", "6")},
    ],
)
def test_a_decoy_is_never_taken(host: Host, decoy: dict[str, object]) -> None:
    host.process(9, **decoy)  # type: ignore[arg-type]
    assert host.find() is None
    real = host.process(11)
    host.process(12, **decoy)  # type: ignore[arg-type]
    assert host.find() == real


def test_a_decoy_in_the_pid_file(host: Host) -> None:
    host.pid_file("web", "9")
    host.process(9, uid=1000)
    assert host.find() is None


def test_the_user_that_libvirt_says(host: Host) -> None:
    mine = host.process(11, uid=4711)
    assert host.find() is None
    assert host.find(replace(WEB, uid=4711)) == mine
    (host.root / "etc/libvirt").mkdir()
    (host.root / "etc/libvirt/qemu.conf").write_text('user = "+4711"\n')
    assert host.find() == mine


def test_a_program_that_libvirt_names_or_that_was_upgraded(host: Host) -> None:
    mine = host.process(11, exe="/opt/bin/emulate")
    assert host.find() is None
    assert host.find(replace(WEB, emulator="/opt/bin/emulate")) == mine
    assert host.process(11, exe="/usr/bin/qemu-kvm (deleted)") == host.find()


def test_two_processes_with_one_uuid(host: Host) -> None:
    """A migration within one machine: both may be in groups of the same number, as two libvirts count alike."""
    host.process(10, directory="domain-3-web")
    mine = host.process(11)
    assert host.find() == mine
    host.process(12)
    assert host.find() is None, "not for sure"


def test_processes_that_end_while_they_are_looked_at(host: Host) -> None:
    for name in ("cmdline", "status", "cgroup", "exe", "task"):
        host.process(11)
        (host.root / f"proc/11/{name}").rename(host.root / f"proc/{name}")
        assert host.find() is None
        (host.root / f"proc/{name}").rename(host.root / f"proc/11/{name}")
    assert host.find()
