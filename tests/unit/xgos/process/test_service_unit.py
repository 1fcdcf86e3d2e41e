"""The systemd unit: what `systemd-analyze` says of it, and what it must never lose."""

import re
import subprocess
from pathlib import Path

from stella.linux import scheduling
from stella.xgos.process.config import Config

UNIT = Path(__file__).parents[4] / "etc" / "systemd" / "xgos.service"
LARGEST_EXPOSURE = 5.0

NEEDED_CALLS = """
accept4 access arch_prctl bind brk chmod chown clock_gettime clock_nanosleep clone3 close close_range connect dup2 epoll_create1
execve exit exit_group fchown fcntl flock fstat fsync ftruncate futex getdents64 getpid getrandom getsockname getsockopt gettid kill
ioctl listen lseek madvise mkdir mmap mprotect munmap newfstatat openat pipe2 poll prctl pread64 prlimit64 read readlink readlinkat
recvfrom recvmsg rename rmdir rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_getscheduler sched_setscheduler
sendfile sendmsg sendto set_robust_list set_tid_address setpriority setsid setsockopt shutdown sigaltstack socket socketpair
sysinfo umask uname unlink unlinkat utimensat vfork wait4 write
"""
"""What the agent, its guard and libvirt's client call (seen with strace, and what the code asks for)."""


def _settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith(("#", ";", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def _analyze(*words: str) -> str:
    """The output of systemd-analyze (package `systemd`, installed by scripts/setup.sh; no service manager is needed)."""
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_systemd_calls_the_unit_ok_or_better() -> None:
    text = _analyze("security", "--offline=true", "--no-pager", str(UNIT))
    level = re.search(r"Overall exposure level for xgos\.service: ([0-9.]+)", text)
    assert level and float(level[1]) < LARGEST_EXPOSURE, text


def test_every_line_is_understood() -> None:
    complaints = [
        line
        for line in _analyze("verify", str(UNIT)).splitlines()
        if UNIT.name in line and "is not executable: No such file" not in line  # it is not installed here
    ]
    assert not complaints


def test_libvirt_is_ordered_before_it_and_never_started_or_stopped_by_it() -> None:
    settings = _settings()
    after = " ".join(settings["After"]).split()
    assert {"libvirtd.service", "libvirtd.socket", "virtqemud.service", "virtqemud.socket"} <= set(after)
    for key in ("Wants", "Requires", "Requisite", "BindsTo", "PartOf", "Upholds", "Conflicts"):
        assert key not in settings


def test_an_agent_that_hangs_or_crashes_is_replaced_and_the_host_restored() -> None:
    settings = _settings()
    assert settings["Type"] == ["notify"] and settings["NotifyAccess"] == ["main"]
    assert float(settings["WatchdogSec"][0]) > 2 * 1.5, "the guard acts first"
    assert settings["KillMode"] == ["mixed"] and settings["Restart"] == ["always"]
    assert settings["RestartPreventExitStatus"] == ["2"]
    assert settings["ExecStopPost"] == [settings["ExecStart"][0].replace(" run ", " release ")]
    assert int(settings["OOMScoreAdjust"][0]) < 0


def test_what_the_agent_does_stays_allowed() -> None:
    settings = _settings()
    assert settings["ProtectControlGroups"] == ["no"]
    assert "/sys/fs/cgroup" in settings["ReadWritePaths"][0].split()
    assert {"CAP_SYS_NICE", "CAP_SYS_PTRACE", "CAP_NET_ADMIN"} <= set(settings["CapabilityBoundingSet"][0].split())
    assert set(settings["RestrictAddressFamilies"][0].split()) == {"AF_UNIX", "AF_NETLINK", "AF_INET", "AF_INET6"}
    # systemd's filter allows the policies 0, 3 and 5 as bare numbers: one with a flag would be refused.
    assert scheduling.parse_policy(scheduling.BATCHING) > 5 and settings["RestrictRealtime"] == ["no"]


def test_its_directories_are_writable_and_not_for_everybody() -> None:
    settings, config = _settings(), Config()
    assert config.state_directory == Path("/var/lib") / settings["StateDirectory"][0]
    assert config.run_directory == Path("/run") / settings["RuntimeDirectory"][0] == config.socket.parent
    assert settings["StateDirectoryMode"] == ["0750"] and settings["UMask"] == ["0027"]
    assert settings["RuntimeDirectoryPreserve"] == ["yes"]


def test_each_capability_is_explained() -> None:
    text = UNIT.read_text(encoding="utf-8")
    for capability in _settings()["CapabilityBoundingSet"][0].split():
        assert re.search(rf"^# {capability} +\w", text, re.MULTILINE), capability


def _groups() -> dict[str, list[str]]:
    """systemd's own names for sets of system calls."""
    groups: dict[str, list[str]] = {}
    name = ""
    for line in _analyze("syscall-filter", "--no-pager").splitlines():
        if line.startswith("@"):
            name = line.strip()
            groups[name] = []
        elif line.startswith("    ") and not line.strip().startswith("#") and name:
            groups[name].append(line.strip())
    return groups


def _calls(word: str, groups: dict[str, list[str]]) -> set[str]:
    if not word.startswith("@"):
        return {word}
    return {call for member in groups[word] for call in _calls(member, groups)}


def test_every_system_call_of_the_agent_passes_the_filter() -> None:
    groups = _groups()
    allowed = _calls("@default", groups)
    for line in _settings()["SystemCallFilter"]:
        for word in line.removeprefix("~").split():
            calls = _calls(word, groups)
            allowed = allowed - calls if line.startswith("~") else allowed | calls
    assert not allowed & {"mount", "init_module", "ptrace", "setuid", "reboot", "bpf"}
    assert not set(NEEDED_CALLS.split()) - allowed
