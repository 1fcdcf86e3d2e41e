"""CPU knobs of the guests' groups: read, compared, put back."""

from pathlib import Path

from stella.bench.figures.knobs import Knobs, differences, read_knobs


def test_knobs(tmp_path: Path) -> None:
    (tmp_path / "vm" / "vcpu0").mkdir(parents=True)
    (tmp_path / "vm" / "cpu.shares").write_text("1024\n")
    (tmp_path / "vm" / "vcpu0" / "cpu.cfs_quota_us").write_text("-1\n")
    before = read_knobs(tmp_path)
    assert before == {"vm/cpu.shares": "1024\n", "vm/vcpu0/cpu.cfs_quota_us": "-1\n"}
    assert differences(before, dict(before)) == []
    (tmp_path / "vm" / "cpu.shares").write_text("1024")
    assert differences(before, read_knobs(tmp_path)) == ["vm/cpu.shares: '1024' -> '1024'"]  # bit for bit
    assert differences({}, {"a": "there"}) == ["a: 'absent' -> 'there'"]


class Groups(Knobs):
    """The knobs of a guests' parent group that a test made."""

    def __init__(self, top: Path) -> None:
        super().__init__()
        self._top = top

    def _tops(self) -> dict[str, Path]:
        return {"": self._top}

    def _read(self) -> dict[str, str]:
        return read_knobs(self._top)


def test_knobs_are_put_back(tmp_path: Path) -> None:
    for path in ("vm/cpu.shares", "vm/cpu.cfs_quota_us", "cpu.shares"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("1024\n")
    knobs = Groups(tmp_path)
    knobs.original = knobs._read()
    (tmp_path / "vm" / "cpu.shares").write_text("2\n")
    (tmp_path / "vm" / "cpu.cfs_quota_us").write_text("5000\n")
    assert len(knobs.restraints()) == 1
    assert knobs.put_back() == []
    assert (tmp_path / "vm" / "cpu.shares").read_text() == "1024\n"
    knobs.original["policy of vm/7"] = "3"  # a thread that went
    (tmp_path / "vm" / "cpu.idle").write_text("1\n")  # nothing that was there before
    assert knobs.put_back() == ["vm/cpu.idle: 'absent' -> '1'"]
