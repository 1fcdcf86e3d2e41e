"""The declarative file: right, it is followed; wrong, nothing changes."""

import os
from pathlib import Path

import pytest

from stella.model.slo import InvalidSlo, Metric
from stella.xgos.intents.slo_file import SloFile, parse_slo_file

GOOD = "instances:\n  vm1: {cpu: {floor: 20%}}\n  'a b; $(x)': {block_bytes: {floor: 300MB/s}}\n"


def test_a_file_is_read() -> None:
    slos = parse_slo_file(GOOD)
    assert slos["vm1"].floor(Metric.CPU) == 0.2 and slos["a b; $(x)"].floor(Metric.BLOCK_BYTES) == 300e6
    assert parse_slo_file("") == {} and parse_slo_file("instances:") == {}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "slo_file"),
        ("- 1", "slo_file"),
        ("instance: {}", "instance"),
        ("instances: 3", "instances"),
        ("instances: {a: {}}", "instances.a.slo"),
        ("instances: {a: {smell: {floor: 1}}}", "instances.a.smell"),
        ("instances: {a: {cpu: {floor: 20pps}}}", "instances.a.cpu.floor"),
        ("instances: {a: {cpu: {floor: .nan}}}", "instances.a.cpu.floor"),
        ("instances: {a: {cpu: {floor: -1}}}", "instances.a.cpu.floor"),
        ("instances: {a: {cpu: {floor: 1}}, a: {cpu: {floor: 2}}}", "a"),
        ("instances: &x {a: *x}", "instances"),
        ("instances: {? [1, 2] : {cpu: {floor: 1}}}", "slo_file"),
        ("a: !!python/object/apply:os.system [id]", "slo_file"),
        ("\x00", "slo_file"),
        ("[" * 5000, "slo_file"),
    ],
)
def test_what_is_wrong_names_its_field_in_one_line(text: str, field: str) -> None:
    with pytest.raises(InvalidSlo) as error:
        parse_slo_file(text)
    assert error.value.field == field
    assert "\n" not in str(error.value)


def test_a_wrong_or_missing_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "slo.yaml"
    file = SloFile(path)
    file.refresh()
    assert file.poll() is None and "No such file" in file.error
    path.write_text(GOOD)
    assert file.poll() is None  # polling never reads
    file.refresh()
    kept = file.poll()
    assert kept is not None and set(kept.wanted) == {"vm1", "a b; $(x)"} and not file.error
    file.refresh()
    assert file.poll() is kept
    path.write_text("instances: {vm1: {cpu: {floor: 20x}}}")
    for _ in range(2):
        file.refresh()
    assert file.poll() is kept and "instances.vm1.cpu.floor" in file.error
    assert caplog.text.count("instances.vm1.cpu.floor") == 1
    path.unlink()
    file.refresh()
    assert file.poll() is kept
    path.write_text("instances: {}")
    os.utime(path, ns=(1, 1))
    file.refresh()
    emptied = file.poll()
    assert emptied is not None and (emptied.revision, emptied.wanted) == (1, {})


def test_what_is_not_a_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    for path, said in ((pipe, "not a regular file"), (large, "larger than 4 MiB")):
        file = SloFile(path)
        file.refresh()
        assert file.poll() is None and said in file.error


def test_uuids_are_read_in_any_case() -> None:
    uuid = "0C2F0000-0000-4000-8000-00000000000A"
    assert list(parse_slo_file(f"instances: {{{uuid}: {{cpu: {{floor: 1}}}}}}")) == [uuid.lower()]
