"""What is kept of the host, and that it comes back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stella.model.allocation import Write, WriteResult
from stella.model.target import Target, TargetKind, cgroup_target
from stella.xgos.actuation.actuators import actuators
from stella.xgos.actuation.apply import Apply
from stella.xgos.actuation.audit import Audit
from stella.xgos.actuation.journal import Journal, release, restore
from stella.xgos.actuation.journal_text import Entry, InvalidJournal, parse_journal, show_journal
from stella.xgos.host_files import Gone, HostFiles, InstanceGone, Unavailable, Unsupported

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
    return Apply(files, journal, audit, dry_run=dry_run)


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
