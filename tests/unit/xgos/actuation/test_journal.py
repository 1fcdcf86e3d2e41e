"""What is kept of the host, and that it comes back."""

import errno
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.linux import cgroup
from stella.model.allocation import Write, WriteResult
from stella.model.target import Target, TargetKind, cgroup_target, thread_policy_target
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.journal import Journal
from stella.xgos.actuation.journal_text import Entry, InvalidJournal, current_boot, parse_journal, show_journal
from stella.xgos.actuation.private_files import filesystem_of
from stella.xgos.actuation.restore import release, restore
from stella.xgos.host_files import Gone, HostFiles, InstanceGone, Unavailable, Unsupported, WriteFailed

GROUP = "/sys/fs/cgroup/cpu/machine/a"
SHARES, QUOTA = f"{GROUP}/cpu.shares", f"{GROUP}/vcpu0/cpu.cfs_quota_us"
SHARES_KNOB, QUOTA_KNOB = cgroup_target(GROUP, "cpu.shares"), cgroup_target(f"{GROUP}/vcpu0", "cpu.cfs_quota_us")


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    root = tmp_path / "root"
    for path, text in ((SHARES, "1024\n"), (QUOTA, "-1\n")):
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / path[1:]).write_text(text)
    return HostFiles(str(root))


def make(files: HostFiles, tmp_path: Path, *, dry_run: bool = False) -> Apply:
    journal = Journal.load(str(tmp_path / "state" / "journal"))
    audit = Audit(str(tmp_path / "state" / "audit.jsonl"))
    return Apply(actuators(files), journal, audit, dry_run=dry_run)


WEIGHT = Write(target=SHARES_KNOB, value="20480", previous="1024", reason="test")
CEILING = Write(target=QUOTA_KNOB, value="25000", previous="-1", reason="test", temporary=True)

entries = st.builds(
    Entry,
    target=st.builds(
        Target, kind=st.sampled_from(TargetKind), place=st.text(max_size=30), knob=st.text(), instance=st.text()
    ),
    identity=st.text(max_size=20),
    original=st.text(max_size=20) | st.none(),
    temporary=st.booleans(),
)


@given(st.lists(entries, max_size=5))
def test_journal_round_trip(given_entries: list[Entry]) -> None:
    assert parse_journal(show_journal(given_entries)) == tuple(given_entries)


@given(st.data())
def test_a_cut_or_changed_journal_is_not_believed(data: st.DataObject) -> None:
    text = show_journal(
        [
            Entry(target=SHARES_KNOB, identity="1", original="1024"),
            Entry(target=QUOTA_KNOB, identity="2", original="-1"),
        ]
    )
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(InvalidJournal):
        parse_journal(text[:cut])
    other = "x" if text[cut] != "x" else "y"
    with pytest.raises(InvalidJournal):
        parse_journal(text[:cut] + other + text[cut + 1 :])


def test_release_restores_every_knob_and_is_idempotent(files: HostFiles, tmp_path: Path) -> None:
    apply = make(files, tmp_path)
    results = [each.result for each in apply.apply((WEIGHT, CEILING), 1.0)]
    assert results == [WriteResult.WRITTEN] * 2
    assert (files.read(SHARES), files.read(QUOTA)) == ("20480\n", "25000\n")
    again = make(files, tmp_path)  # a new agent after a crash
    assert again.journal.originals == {SHARES_KNOB: "1024", QUOTA_KNOB: "-1"}
    assert all(not each.error for each in again.release(2.0))
    assert (files.read(SHARES), files.read(QUOTA)) == ("1024\n", "-1\n")
    assert again.release(3.0) == () and not Path(again.journal.path).exists()
    apply.audit.close()
    again.audit.close()
    lines = (tmp_path / "state" / "audit.jsonl").read_text().splitlines()
    assert len(lines) == 4 and '"reason": "test"' in lines[0]


def test_the_first_original_stays(files: HostFiles, tmp_path: Path) -> None:
    apply = make(files, tmp_path)
    apply.apply((WEIGHT,), 1.0)
    apply.apply((Write(target=SHARES_KNOB, value="99", previous="20480", reason="later"),), 2.0)
    assert apply.journal.originals == {SHARES_KNOB: "1024"}


def test_a_group_made_anew_is_not_restored(files: HostFiles, tmp_path: Path) -> None:
    apply = make(files, tmp_path)
    apply.apply((WEIGHT,), 1.0)
    group = Path(files.real(GROUP))
    group.rename(group.with_name("old"))
    group.mkdir()
    (group / "cpu.shares").write_text("7\n")
    (restored,) = apply.release(2.0)
    assert restored.gone and files.read(SHARES) == "7\n"


def test_a_journal_of_an_earlier_boot_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text(show_journal([Entry(target=SHARES_KNOB, identity="1", original="7")], "another boot"))
    journal = Journal.load(str(path))
    assert journal.entries == () and not journal.set_aside


def test_the_guard_lifts_only_restraints(files: HostFiles, tmp_path: Path) -> None:
    apply = make(files, tmp_path)
    apply.apply((WEIGHT, CEILING), 1.0)
    (lifted,) = restore(actuators(files), apply.journal.entries, temporary_only=True)
    assert lifted.target == QUOTA_KNOB and files.read(QUOTA) == "-1\n" and files.read(SHARES) == "20480\n"


def test_garbage_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for text in ("", "garbage", "stella-journal 0 00000000\n", "\x00\xff"):
        path.write_bytes(text.encode("latin-1"))
        journal = Journal.load(str(path))
        assert journal.entries == () and journal.set_aside and not path.exists()


def test_no_restraint_without_a_durable_journal(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    apply = make(files, tmp_path)
    results = {each.write: each.result for each in apply.apply((WEIGHT, CEILING), 1.0)}
    assert results == {WEIGHT: WriteResult.WRITTEN, CEILING: WriteResult.FAILED}
    assert apply.journal.alarm and files.read(QUOTA) == "-1\n"
    (tmp_path / "state").unlink()
    assert apply.apply((CEILING,), 2.0)[0].result is WriteResult.WRITTEN and not apply.journal.alarm


def test_dry_run_touches_nothing(files: HostFiles, tmp_path: Path) -> None:
    apply = make(files, tmp_path, dry_run=True)
    assert [each.result for each in apply.apply((WEIGHT,), 1.0)] == [WriteResult.DRY_RUN]
    assert files.read(SHARES) == "1024\n" and not (tmp_path / "state").exists()


def test_gone_and_unsupported(files: HostFiles, tmp_path: Path) -> None:
    apply = make(files, tmp_path)
    gone = Write(
        target=cgroup_target("/sys/fs/cgroup/cpu/machine/b", "cpu.shares"), value="2", previous="1", reason="r"
    )
    missing = Write(target=cgroup_target(GROUP, "cpu.weight"), value="2", previous="1", reason="r")
    foreign = Write(target=cgroup_target("/proc/1", "oom_score_adj"), value="2", previous="1", reason="r")
    results = [each.result for each in apply.apply((gone, missing, foreign), 1.0)]
    assert results == [WriteResult.GONE, WriteResult.UNSUPPORTED, WriteResult.GONE]
    assert apply.apply((missing,), 2.0) == ()  # tried once


def test_groups_that_stella_made_are_removed(files: HostFiles, tmp_path: Path) -> None:
    journal = Journal.load(str(tmp_path / "journal"))
    own = "/sys/fs/cgroup/cpu/stella-xgos"
    journal.record_made(cgroup_target(own, ""))
    assert files.make_group(own) and not files.make_group(own)
    assert all(not each.error for each in release(actuators(files), journal)) and not files.exists(own)


def test_files_below_the_root_only(files: HostFiles) -> None:
    for path in ("relative", "/sys/../../etc/passwd", "/a\0b"):
        with pytest.raises(Unavailable):
            files.read(path)
    with pytest.raises(Unsupported):
        files.write_knob("/etc/passwd", "x")
    with pytest.raises(InstanceGone):
        files.write_knob("/no/cpu.shares", "2")
    with pytest.raises(Gone):
        files.read("/no")
    assert not files.exists("/no/cpu.shares")


def test_audit_is_bounded(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path / "audit.jsonl"), largest_bytes=2000)
    for n in range(200):
        audit.event(n, "test")
    audit.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2 and sum(sizes) <= 2200


def test_a_successor_lifts_restraints_and_keeps_the_originals(files: HostFiles, tmp_path: Path) -> None:
    make(files, tmp_path).apply((WEIGHT, CEILING), 1.0)  # and then it was killed
    apply = make(files, tmp_path)
    (lifted,) = apply.lift(2.0)
    assert (lifted.target, files.read(QUOTA), files.read(SHARES)) == (QUOTA_KNOB, "-1\n", "20480\n")
    assert apply.journal.originals == {SHARES_KNOB: "1024", QUOTA_KNOB: "-1"}
    apply.apply((Write(target=SHARES_KNOB, value="5", previous="20480", reason="anew"),), 3.0)
    assert make(files, tmp_path).journal.originals[SHARES_KNOB] == "1024"
    assert make(files, tmp_path, dry_run=True).lift(4.0) == ()


OWN_GROUP = "/sys/fs/cgroup/cpu/stella-xgos"


def test_a_journal_of_version_1_is_read(files: HostFiles, tmp_path: Path) -> None:
    lines = (
        f"knob\tt\t7\t{QUOTA}\t-1",
        f"knob\t-\t7\t{SHARES}\t1024",
        "knob\t-\t55\t/proc/7/task/8/policy\tother",
        f"group\t-\t0\t{OWN_GROUP}\t",
    )
    body = "".join(f"{line}\n" for line in (current_boot(), *lines))
    entries_read = parse_journal(f"stella-journal 1 {zlib.crc32(body.encode()):08x} {body}", current_boot())
    assert entries_read == (
        Entry(target=QUOTA_KNOB, identity="7", original="-1", temporary=True),
        Entry(target=SHARES_KNOB, identity="7", original="1024"),
        Entry(target=thread_policy_target(7, 8), identity="55", original="other", temporary=True),
        Entry(target=cgroup_target(OWN_GROUP, ""), identity="0", original=None),
    )


@pytest.mark.parametrize("harm", ["missing", "cut", "garbled", "linked", "another user's", "a fifo"])
def test_the_copy_is_used_when_the_journal_cannot_be(files: HostFiles, tmp_path: Path, harm: str) -> None:
    path, copy = tmp_path / "run" / "journal", tmp_path / "state" / "journal.copy"
    journal = Journal.load(str(path), str(copy))
    journal.record(actuators(files), [WEIGHT, CEILING])
    journal.forget(())  # flushes the copy
    text = path.read_text()
    path.unlink()
    if harm == "cut":
        path.write_text(text[:-9])
    elif harm == "garbled":
        path.write_text(text.replace("1024", "4096"))
    elif harm == "linked":
        (tmp_path / "planted").write_text(show_journal([], current_boot()))
        path.symlink_to(tmp_path / "planted")
    elif harm == "another user's":
        path.write_text(show_journal([], current_boot()))
        path.chmod(0o666)
    elif harm == "a fifo":
        os.mkfifo(path)
    again = Journal.load(str(path), str(copy))
    assert again.originals == {SHARES_KNOB: "1024", QUOTA_KNOB: "-1"}
    assert again.recovered and bool(again.set_aside) == (harm != "missing")
    release(actuators(files), again)
    assert not copy.exists() and Journal.load(str(path), str(copy)).entries == ()


def test_a_directory_that_others_may_write_holds_no_journal(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    apply = make(files, tmp_path)
    results = [each.result for each in apply.apply((WEIGHT, CEILING), 1.0)]
    assert results == [WriteResult.WRITTEN, WriteResult.FAILED] and "chmod go-w" in apply.journal.alarm
    apply.audit.close()
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o755)
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    apply.apply((CEILING,), 2.0)
    assert "not a directory" in apply.journal.alarm


def test_what_is_planted_under_the_temporary_name_is_not_followed(files: HostFiles, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    journal = Journal.load(str(tmp_path / "run" / "journal"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.tmp").symlink_to(victim)
    journal.record(actuators(files), [WEIGHT])
    assert victim.read_text() == "precious" and journal.alarm == ""
    assert Path(journal.path).stat().st_mode & 0o777 == 0o640 and not Path(journal.path).is_symlink()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_or_failing_disk_does_not_keep_restraints(
    files: HostFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    apply = make(files, tmp_path)
    apply.apply((CEILING,), 1.0)

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("stella.xgos.actuation.private_files.os.fsync", fail)
    again = replace(CEILING, value="5000", previous="25000")
    other = replace(WEIGHT, temporary=True)
    assert [o.result for o in apply.apply((other, again), 2.0)] == [WriteResult.FAILED] * 2
    lifted = replace(CEILING, value="-1", previous="25000", lifts=True)
    assert apply.apply((lifted,), 3.0)[0].result is WriteResult.WRITTEN and files.read(QUOTA) == "-1\n"
    assert [p.name for p in (tmp_path / "state").iterdir() if p.name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("number", "result"),
    [(errno.EPERM, WriteResult.FAILED), (errno.EIO, WriteResult.FAILED), (errno.ENODEV, WriteResult.GONE)],
)
def test_a_kernel_that_refuses(
    files: HostFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, result: WriteResult
) -> None:
    apply, write = make(files, tmp_path), os.write

    def fail(descriptor: int, data: bytes) -> int:
        if data == b"20480\n":
            raise OSError(number, os.strerror(number))
        return write(descriptor, data)

    monkeypatch.setattr("stella.xgos.host_files.os.write", fail)
    outcomes = apply.apply((WEIGHT, CEILING), 1.0)
    assert [o.result for o in outcomes] == [result, WriteResult.WRITTEN], "the others are made all the same"


@pytest.mark.parametrize(
    ("path", "kind"), [("/run/xgos", "tmpfs"), ("/run", "tmpfs"), ("/running", "ext4"), ("/", "ext4")]
)
def test_which_file_system(path: str, kind: str) -> None:
    mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /run rw,nosuid shared:5 - tmpfs tmpfs rw\n"
    assert filesystem_of(path, mounts) == kind


EMPTY = cgroup_target("/cg/machine/a/vcpu0", cgroup.CPUSET)
EMPTY_FILE = f"{EMPTY.place}/{EMPTY.knob}"
CONFINED = Write(target=EMPTY, value="1", previous="", reason="test", temporary=True)
FREED = Write(target=EMPTY, value="", previous="1", reason="test", temporary=True, lifts=True)


@pytest.fixture
def v2(tmp_path: Path) -> HostFiles:
    """A group without CPUs of its own, below groups and a root that tell theirs."""
    root = tmp_path / "root"
    (root / "cg/machine/a/vcpu0").mkdir(parents=True)
    (root / "cg/machine/a/vcpu0/cpuset.cpus").write_text("\n")
    for path in ("cg", "cg/machine", "cg/machine/a"):
        (root / path / "cpuset.cpus.effective").write_text("0-3\n" if path == "cg" else "0-1\n")
    return HostFiles(str(root))


def test_an_empty_cpu_set_is_lifted_by_all_cpus_and_released_exactly(v2: HostFiles, tmp_path: Path) -> None:
    apply = make(v2, tmp_path)
    apply.apply([CONFINED], 1.0)
    (entry,) = apply.journal.entries
    assert apply.journal.restrains(entry) and v2.read(EMPTY_FILE) == "1\n"
    (outcome,) = apply.apply([FREED], 2.0)
    assert (outcome.write.value, v2.read(EMPTY_FILE), apply.journal.written(EMPTY)) == ("0-3", "0-3\n", "0-3")
    assert not apply.journal.restrains(entry), "or it would be lifted in each tick"
    (restored,) = apply.release(3.0)
    assert (restored.value, restored.error, v2.read(EMPTY_FILE)) == ("", "", "\n")


@pytest.mark.parametrize(("now", "after"), [("0-3", "\n"), ("2", "2\n")])
def test_what_the_guard_lifted_is_released_unless_another_program_set_it(
    now: str, after: str, v2: HostFiles, tmp_path: Path
) -> None:
    apply = make(v2, tmp_path)
    apply.apply([CONFINED], 1.0)
    restore(actuators(v2), apply.journal.entries, temporary_only=True)
    assert v2.read(EMPTY_FILE) == "0-3\n"
    (again,) = restore(actuators(v2), apply.journal.entries, temporary_only=True)
    assert not again.changed
    v2.write_knob(EMPTY_FILE, now)
    marked = [replace(entry, lifted=True) for entry in apply.journal.entries]
    (restored,) = restore(actuators(v2), marked)
    assert (restored.error, v2.read(EMPTY_FILE)) == ("", after)


def test_threads_wait_in_the_parent_while_their_group_is_emptied(
    v2: HostFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does, an empty list is refused while the group has threads; one is born while they move."""
    groups = {"/cg/machine/a": set[int](), "/cg/machine/a/vcpu0": {7, 8}}
    born = [9]

    def move(group: str, tid: int) -> None:
        if tid == 8:
            raise InstanceGone("it has ended")
        for tids in groups.values():
            tids.discard(tid)
        groups[group].add(tid)
        groups["/cg/machine/a/vcpu0"].discard(8)
        groups["/cg/machine/a/vcpu0"].update([born.pop()] if born else [])

    write, read = v2.write_knob, v2.read

    def write_knob(path: str, value: str) -> None:
        if not value and groups["/cg/machine/a/vcpu0"]:
            raise WriteFailed("No space left on device")
        write(path, value)

    def read_file(path: str, *, largest_bytes: int = 65536) -> str:
        own, _, name = path.rpartition("/")
        return " ".join(map(str, groups[own])) if name == "cgroup.threads" else read(path, largest_bytes=largest_bytes)

    apply = make(v2, tmp_path)
    apply.apply([CONFINED], 1.0)
    monkeypatch.setattr(v2, "move_thread", move)
    monkeypatch.setattr(v2, "write_knob", write_knob)
    monkeypatch.setattr(v2, "read", read_file)
    (restored,) = apply.release(2.0)
    assert (restored.error, read(EMPTY_FILE)) == ("", "\n")
    assert groups == {"/cg/machine/a": set(), "/cg/machine/a/vcpu0": {7, 9}}
