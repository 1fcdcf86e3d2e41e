"""`openstack slo export` and `slo import` against the real API."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from client_shell import Shell, connect
from osc_lib.exceptions import CommandError
from stellaclient.osc import exports, slas, slo

from tests.functional.conftest import Agent, Cloud, uuid


@pytest.fixture(autouse=True)
def agent(cloud: Cloud, shell: Shell, operator: Shell) -> Agent:
    """Two instances with SLOs, web-1 under gold; one without."""
    made = cloud.host("compute-1")
    for number in (1, 2, 3):
        made.add(uuid(number), name=f"web-{number}")
    assert made.report().status_code == 200
    shell.run(slo.Set, "--server", "web-1", "--cpu", "20%", "--net-pps", "1k", "--net-direction", "tx")
    shell.run(slo.Set, "--server", "web-2", "--cpu", "10%", "--cpu-ceiling", "50%", "--priority", "3")
    terms = ("--target", "99.5%", "--time-zone", "Asia/Seoul", "--unknown", "ignored")
    operator.run(slas.Create, "gold", *terms)
    operator.run(slas.Set, "gold", "--attach-server", "web-1")
    return made


def export(shell: Shell, *arguments: str) -> list[Any]:
    return list(yaml.safe_load_all(shell.run(exports.Export, *arguments)))


def slos(documents: list[Any]) -> dict[str, float]:
    return {
        one["metadata"]["name"]: one["spec"]["objectives"][0]["target"] for one in documents if one["kind"] == "SLO"
    }


def saved(tmp_path: Path, documents: list[Any]) -> str:
    path = tmp_path / "slos.yaml"
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return str(path)


def test_export_of_all_that_is_visible(cloud: Cloud, shell: Shell, operator: Shell) -> None:
    everything = {f"{uuid(1)}-cpu": 0.995, f"{uuid(1)}-network-packets": 0.995, f"{uuid(2)}-cpu": 0.999}
    assert slos(export(shell)) == everything == slos(export(operator, "--project", "p1"))
    assert slos(export(shell, "--default-target", "90%"))[f"{uuid(2)}-cpu"] == 0.9
    of_gold = {name: target for name, target in everything.items() if name.startswith(uuid(1))}
    assert slos(export(shell, "--sla", "gold")) == slos(export(shell, "--server", "web-1")) == of_gold
    stranger = Shell(connect(cloud.stranger))
    assert slos(export(stranger)) == {}
    with pytest.raises(CommandError, match="web-3 has no SLO in force"):
        export(shell, "--server", "web-3")
    with pytest.raises(CommandError, match="no SLA class is named 'silver'"):
        export(shell, "--sla", "silver")
    with pytest.raises(CommandError, match="--default-target: '999' is not a share"):
        export(shell, "--default-target", "999")


def test_export_for_sloth_and_prometheus(shell: Shell, operator: Shell) -> None:
    first, second = export(shell, "--format", "sloth")
    assert [one["objective"] for one in (*first["slos"], *second["slos"])] == [99.5, 99.5, 99.9]
    assert "UNKNOWN" not in str(first) and "UNKNOWN" in str(second)
    (rules,) = export(shell, "--format", "prometheus")
    target, unknown = rules["groups"][0]["rules"]
    assert target["expr"].startswith("0.995 * ") and unknown["expr"].startswith("0 * ")
    assert uuid(1) in target["expr"] and uuid(2) not in str(rules), "without a class the default of the rules counts"
    operator.run(slas.Create, "all", "--target", "100%")
    operator.run(slas.Set, "all", "--attach-server", "web-2")
    assert uuid(2) not in str(export(shell, "--format", "sloth"))
    assert "left out: web-2: its target is 100%" in shell.stderr.getvalue()


def test_an_export_can_be_imported(shell: Shell, tmp_path: Path) -> None:
    file = saved(tmp_path, export(shell))
    for _ in range(2):
        rows = shell.json(exports.Import, file)
        assert [row["action"] for row in rows] == ["keep", "keep"]
    assert shell.json(slo.Show, "--server", "web-2")["objectives"]["cpu"] == {
        "floor": 0.1,
        "ceiling": 0.5,
        "priority": 3,
    }


def test_import_changes_adds_and_drops(shell: Shell, tmp_path: Path) -> None:
    documents = [one for one in export(shell) if one["metadata"]["name"] != f"{uuid(1)}-network-packets"]
    for one in documents:
        if one["kind"] == "SLO" and one["metadata"]["name"] == f"{uuid(1)}-cpu":
            one["metadata"]["annotations"]["stella/floor"] = "30%"
        if one["metadata"]["name"] == f"instance-{uuid(2)}":
            one["metadata"]["annotations"] = {"stella/network_bytes.ceiling": "50MB/s"}
    file = saved(tmp_path, documents)
    rows = shell.json(exports.Import, file, "--dry-run")
    assert [row["result"] for row in rows] == ["would be accepted"] * 2
    assert rows[0]["difference"].splitlines() == [
        "- cpu: floor 20%",
        "+ cpu: floor 30%",
        "- network_packets: floor 1kpps tx",
    ]
    assert shell.json(slo.Show, "--server", "web-1")["objectives"]["cpu"]["floor"] == 0.2, "a dry run changes nothing"
    shell.run(exports.Import, file)
    assert shell.json(slo.Show, "--server", "web-1")["objectives"] == {"cpu": {"floor": 0.3}}
    assert shell.json(slo.Show, "--server", "web-2")["objectives"]["network_bytes"] == {"ceiling": 50e6}


def refused(shell: Shell, file: str, *arguments: str) -> tuple[list[str], str]:
    """The lines on stderr, and the error."""
    before = len(shell.stderr.getvalue())
    with pytest.raises(CommandError) as error:
        shell.run(exports.Import, file, *arguments)
    assert "\n" not in str(error.value)
    return shell.stderr.getvalue()[before:].splitlines(), str(error.value)


def test_what_is_not_supported_is_reported_line_by_line_and_nothing_is_done(shell: Shell, tmp_path: Path) -> None:
    documents = export(shell)
    for one in documents:
        if one["kind"] == "SLO" and one["metadata"]["name"].endswith("-cpu"):
            one["metadata"]["annotations"]["stella/floor"] = "30%"
            one["spec"]["budgetingMethod"] = "Timeslices"
            one["spec"]["objectives"][0]["target"] = 0.5
    lines, error = refused(shell, saved(tmp_path, documents))
    assert lines == [
        f"SLO {uuid(number)}-cpu: {line}"
        for number, target in ((1, 0.995), (2, 0.999))
        for line in (
            "spec.budgetingMethod: Timeslices is not supported; it is Occurrences",
            f"spec.objectives[0].target: 0.5 is not supported; it is {target}",
        )
    ]
    assert error == "4 of these cannot be imported; nothing was changed"
    assert shell.json(slo.Show, "--server", "web-1")["objectives"]["cpu"]["floor"] == 0.2


@pytest.mark.parametrize(
    ("pattern", "text", "line"),
    [
        (r"stella/floor: '0\.2'", "stella/floor: 5furlongs", f"{uuid(1)}.cpu.floor: '5furlongs' is not a quantity in"),
        (r"stella/floor: '0\.2'", "stella/flor: '0.2'", "metadata.annotations.stella/flor: is not supported"),
        (r"stella/priority: '3'", "stella/priority: high", f"{uuid(2)}.cpu.priority: must be a whole number"),
        (uuid(1), uuid(77), f"Service instance-{uuid(77)}: there is no such instance"),
        (r"^", "text\n---\n", "document 1: is not one of openslo/v1"),
    ],
)
def test_what_is_wrong_is_named(shell: Shell, tmp_path: Path, pattern: str, text: str, line: str) -> None:
    file = Path(saved(tmp_path, export(shell)))
    changed = re.sub(pattern, text, file.read_text())
    assert changed != file.read_text()
    file.write_text(changed)
    lines, error = refused(shell, str(file))
    assert any(line in one for one in lines) and error.endswith("nothing was changed")


@pytest.mark.parametrize(("text", "error"), [("a: [", "not YAML"), ("", "1 of these"), ("a: \x00", "not YAML")])
def test_what_is_no_file_of_slos(shell: Shell, tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "slos.yaml"
    path.write_text(text)
    assert error in refused(shell, str(path))[1]
    assert "No such file" in refused(shell, str(tmp_path / "nowhere"))[1]


def cpu_of(shell: Shell) -> list[float]:
    return [shell.json(slo.Show, "--server", name)["objectives"]["cpu"]["floor"] for name in ("web-1", "web-2")]


def with_floors(documents: list[Any], floor: str) -> list[Any]:
    for one in documents:
        if one["kind"] == "SLO" and one["metadata"]["name"] in (f"{uuid(1)}-cpu", f"{uuid(2)}-cpu"):
            one["metadata"]["annotations"].update({"stella/floor": floor, "stella/ceiling": "100%"})
    return documents


def crowded(shell: Shell, tmp_path: Path) -> str:
    """A file that asks for more on one host than it has."""
    file = saved(tmp_path, with_floors(export(shell), "70%"))
    shell.run(slo.Set, "--server", "web-3", "--cpu", "40%")
    return file


def test_all_or_none(shell: Shell, tmp_path: Path) -> None:
    """Each alone would fit on the host, the two together do not: the first is put back."""
    file = crowded(shell, tmp_path)
    assert [row["result"] for row in shell.json(exports.Import, file, "--dry-run")] == ["would be accepted"] * 2
    lines, error = refused(shell, file)
    assert lines == [] and error.startswith("web-2: cpu.floor: ") and error.endswith("; nothing was changed")
    assert cpu_of(shell) == [0.2, 0.1]
    assert shell.json(exports.Import, saved(tmp_path, with_floors(export(shell), "30%")))
    assert cpu_of(shell) == [0.3, 0.3]


def test_what_could_not_be_put_back_is_named(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = crowded(shell, tmp_path)
    put, calls = shell.stella.put_slo, []

    def put_slo(uuid: str, *arguments: Any, dry_run: bool = False, **more: Any) -> Any:
        calls.append(uuid) if not dry_run else None
        if len(calls) > 2:
            raise CommandError("the API answered 503: the service is not available")
        return put(uuid, *arguments, dry_run=dry_run, **more)

    monkeypatch.setattr(shell.stella, "put_slo", put_slo)
    _, error = refused(shell, file)
    assert error.endswith("; web-1 stays changed: the API answered 503: the service is not available")
    assert cpu_of(shell) == [0.7, 0.1]
