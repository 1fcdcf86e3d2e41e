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
    assert not file.poll() and file.slos == {}
    path.write_text(GOOD)
    assert file.poll() and not file.poll()
    kept = dict(file.slos)
    path.write_text("instances: {vm1: {cpu: {floor: 20x}}}")
    assert not file.poll() and not file.poll() and file.slos == kept
    assert caplog.text.count("instances.vm1.cpu.floor") == 1
    path.unlink()
    assert not file.poll() and file.slos == kept
    path.write_text("instances: {}")
    os.utime(path, ns=(1, 1))
    assert file.poll() and file.slos == {}
