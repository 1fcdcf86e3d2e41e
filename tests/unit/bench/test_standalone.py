"""The stand-alone Stella's files and processes: what was started is known again, and only that is ended."""

import os
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stella import conf
from stella.api.identity import read_tokens, token_digest
from stella.bench.lab.process import start_ticks
from stella.bench.standalone import processes
from stella.bench.standalone.command import started_text
from stella.bench.standalone.control_plane import (
    Reported,
    add_member,
    config_text,
    get,
    is_healthy,
    most_used_project,
    prepare,
)
from stella.bench.standalone.environment import env_text, next_commands, shown_path
from stella.bench.standalone.errors import StandaloneError, WrongRequest
from stella.bench.standalone.lifecycle import down
from stella.bench.standalone.load import Request, ask_for_load, parse_request
from stella.bench.standalone.paths import Hosts, Paths, parse_hosts
from stella.bench.standalone.processes import Record, parse_record, recorded
from stella.bench.standalone.state import (
    State,
    boot_id,
    is_running,
    locked,
    parse_state,
    read_state,
    show_state,
    write_private,
)
from stella.cmd.stella_bench import main

STATE = State(
    boot="b",
    hosts=Hosts(simulated=5),
    endpoint="http://127.0.0.1:1",
    server="vm1",
    instances=9,
    is_ready=True,
    processes=("stella-api", "hosts"),
)


def until(is_done: Callable[[], bool], seconds: float = 15.0) -> bool:
    limit = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def silent(_: str) -> None:
    pass


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path / "run")
    for directory in (found.processes, found.logs):
        directory.mkdir(parents=True)
    return found


def start(paths: Paths, name: str, *argv: str) -> "subprocess.Popen[bytes]":
    return processes.start(name, argv, records=paths.processes, log=paths.logs / f"{name}.log")


def test_hosts_are_the_laboratory_or_a_simulated_fleet() -> None:
    assert (parse_hosts("lab"), str(Hosts())) == (Hosts(), "lab")
    assert parse_hosts("sim:2").names == ("sim1", "sim2")
    assert (parse_hosts("lab:1").guests, parse_hosts("lab:3")) == (("vm1",), Hosts())
    assert [str(parse_hosts(text)) for text in ("lab:1", "sim:7")] == ["lab:1", "sim:7"]
    assert Hosts().names == ("host1",)
    for text in ("", "sim", "sim:0", "sim:101", "sim:-1", "sim:1e2", "sim:5;id", "lab:0", "lab:4"):
        with pytest.raises(WrongRequest, match=r"--hosts: .* sim:N"):
            parse_hosts(text)


def test_the_state_is_read_as_it_was_written_and_nonsense_counts_as_a_start_that_did_not_get_far(paths: Paths) -> None:
    assert parse_state(show_state(STATE)) == STATE
    assert read_state(paths) is None
    for text in ("", "[]", "{}", '{"hosts": "sim:0"}', show_state(STATE)[:-20]):
        paths.state.write_text(text)
        found = read_state(paths)
        assert found is not None
        assert not found.is_ready


def test_private_files_are_for_their_owner_alone_also_in_place_of_one_that_was_not(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    assert [entry.name for entry in tmp_path.iterdir()] == ["env"]


def test_a_record_is_read_whatever_the_program_is_called() -> None:
    rest = " ".join(str(n) for n in range(1, 50))
    assert parse_record("x", f"77 (a) b (c)) S {rest}") == Record(name="x", pid=77, ticks=19)
    for text in ("", "77 (a)", "x (a) S 1 2"):
        with pytest.raises(ValueError, match=r"stat|literal"):
            parse_record("x", text)


def test_a_detached_process_is_recorded_and_ended_with_its_session(paths: Paths) -> None:
    script = "trap '' TERM; sh -c 'trap \"\" TERM; echo child $$; sleep 60' & echo ready; exec sleep 60"
    child = start(paths, "one", "/bin/sh", "-c", script)
    processes.wait_for_records(paths.processes)
    (record,) = recorded(paths.processes)
    assert (record.name, record.pid, record.runs) == ("one", child.pid, True)
    log = paths.logs / "one.log"
    assert until(lambda: "child" in log.read_text())
    assert os.getsid(record.pid) == record.pid
    assert len(processes.session_of(record)) >= 2
    child_pid = int(log.read_text().split("child ")[1].split()[0])
    assert processes.end(record, patience_seconds=0.2), "what ignores SIGTERM is killed"
    assert start_ticks(child_pid) is None
    assert not record.runs
    assert processes.end(record, patience_seconds=0.2), "again does nothing"
    child.wait(5)


def test_the_rest_of_a_session_is_ended_when_its_leader_is_gone(paths: Paths) -> None:
    child = start(paths, "one", "/bin/sh", "-c", "sleep 60 & echo started")
    assert child.wait(15) == 0
    (record,) = recorded(paths.processes)
    assert not record.runs
    assert len(processes.session_of(record)) == 1
    assert processes.end(record, patience_seconds=1.0)
    assert processes.session_of(record) == []


def test_a_later_process_with_the_same_number_is_left_alone() -> None:
    other = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    try:
        ticks = start_ticks(other.pid)
        assert ticks is not None
        record = Record(name="one", pid=other.pid, ticks=ticks - 1)
        assert processes.session_of(record) == []
        assert processes.end(record, patience_seconds=0.1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_it_runs_when_all_that_was_started_runs_since_this_boot(paths: Paths) -> None:
    state = replace(STATE, boot=boot_id(), processes=("one", "two"))
    start(paths, "one", "/bin/sleep", "60")
    processes.wait_for_records(paths.processes)
    assert not is_running(paths, state)
    second = start(paths, "two", "/bin/sleep", "60")
    processes.wait_for_records(paths.processes)
    assert is_running(paths, state)
    assert not is_running(paths, replace(state, boot="another boot"))
    assert not is_running(paths, replace(state, is_ready=False))
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert not is_running(paths, state)
    for record in recorded(paths.processes):
        assert processes.end(record, patience_seconds=5.0)


def test_down_ends_what_a_half_finished_start_left_and_removes_its_files_alone(paths: Paths) -> None:
    foreign = paths.directory / "bench"
    foreign.mkdir()
    paths.state.write_text(show_state(State(boot=boot_id(), hosts=Hosts(simulated=2))))
    child = start(paths, "stella-api", "/bin/sleep", "60")  # as if up was killed just now
    assert down(paths, silent)
    assert child.wait(5) == -signal.SIGTERM
    assert [entry.name for entry in paths.directory.iterdir()] == ["bench"]
    assert not down(paths, silent), "there is nothing any more"


def test_down_after_a_reboot_ends_nothing(paths: Paths) -> None:
    child = start(paths, "stella-api", "/bin/sleep", "60")
    processes.wait_for_records(paths.processes)
    paths.state.write_text(show_state(replace(STATE, boot="the boot before")))
    paths.env.write_text("export OS_TOKEN=x")
    try:
        assert down(paths, silent)
        assert child.poll() is None
        assert not paths.directory.exists()
    finally:
        child.kill()
        child.wait()


def test_one_at_a_time(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "a" / "run")
    with locked(paths):
        with pytest.raises(StandaloneError, match="another stella-bench up or down"), locked(paths):
            pass
        assert paths.directory.is_dir()
    assert not paths.directory.exists(), "an empty directory is not left"
    with locked(paths):
        (paths.directory / "env").touch()
    assert paths.directory.exists()
    with pytest.raises(StandaloneError, match="--directory"), locked(Paths(paths.directory / "env")):
        pass


def test_the_environment_works_in_a_shell_whatever_the_directory_is_called(tmp_path: Path) -> None:
    programs = tmp_path / "it's $HOME; `id`"
    programs.mkdir()
    (programs / "openstack").write_text("#!/bin/sh\necho $OS_AUTH_TYPE $OS_ENDPOINT $OS_TOKEN ${OS_CLOUD-none}\n")
    (programs / "openstack").chmod(0o755)
    env = tmp_path / "env"
    env.write_text(env_text(programs=programs, endpoint="http://127.0.0.1:7", admin_token="a-_", member_token="m"))
    script = f". {shlex.quote(str(env))}; openstack; OS_TOKEN=$STELLA_MEMBER_TOKEN openstack"
    found = subprocess.run(
        ["/bin/sh", "-euc", script],
        env={"PATH": "/usr/bin:/bin", "OS_CLOUD": "other"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stderr == ""
    assert found.stdout.splitlines() == [
        "admin_token http://127.0.0.1:7 a-_ none",
        "admin_token http://127.0.0.1:7 m none",
    ]


def test_paths_are_shown_as_they_are_typed(tmp_path: Path) -> None:
    assert shown_path(tmp_path / ".run" / "env", tmp_path) == ".run/env"
    assert shown_path(tmp_path / "env", tmp_path) == "./env"
    assert shown_path(Path("/x y/env"), tmp_path) == "'/x y/env'"


def test_the_next_commands_name_an_instance_that_there_is(tmp_path: Path) -> None:
    commands = next_commands(env=".run/env", server="vm1", is_laboratory=False)
    assert commands[0] == ". .run/env; openstack slo host list"
    assert commands[1] == "openstack slo set --server vm1 --cpu 20% --wait"
    assert not any("stella-bench load" in command for command in commands)
    assert any("stella-bench load vm1" in c for c in next_commands(env="e", server="vm1", is_laboratory=True))
    text = started_text(STATE, Paths(tmp_path), was_running=True)
    assert "runs already at http://127.0.0.1:1 with 5 simulated hosts and 9 instances" in text
    assert "http://127.0.0.1:1/openapi.json" in text


def test_the_prepared_control_plane_can_be_used_by_its_services(tmp_path: Path) -> None:
    directory = tmp_path / "with space"
    directory.mkdir()
    plane = prepare(directory, ("sim1", "sim2"))
    config = conf.load([str(plane.config)])
    assert config.database.connection == f"sqlite:///{directory}/stella.sqlite"
    assert (config.api.bind_host, config.api.bind_port) == ("127.0.0.1", plane.port)
    member = add_member(plane, "demo")
    identities = read_tokens(Path(config.auth.token_file))
    assert identities[token_digest(plane.admin_token)].roles[0] == "admin"
    assert identities[token_digest(member)].project_id == "demo"
    assert {plane.admin_token, member}.isdisjoint(plane.tokens.read_text().split('"'))
    with pytest.raises(StandaloneError, match="no token for project"):
        add_member(plane, "a b")
    for path in (plane.config, *plane.credentials.values(), directory / "tokens.toml", directory / "stella.sqlite"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert len({path.read_text() for path in plane.credentials.values()}) == 2
    assert next(iter(plane.programs)) == "stella-api"
    assert not is_healthy(plane)
    with pytest.raises(StandaloneError, match="GET /v1/hosts"):
        get(plane, "/v1/hosts")
    assert "tokens.toml" in config_text(directory=directory, port=1)
    with pytest.raises(StandaloneError, match="must not contain"):
        prepare(tmp_path / "100%", ("sim1",))


def test_the_member_and_the_commands_are_of_the_largest_project() -> None:
    def of(*names: str) -> list[Reported]:
        return [Reported(*name.split("@")) for name in names]

    assert most_used_project(of("vm2@default", "vm1@default")) == ("default", "vm1")
    assert most_used_project(of("a@acme", "web@demo", "db@demo", "db@demo")) == ("demo", "web")
    assert most_used_project(of("db@demo", "db@demo")) == ("demo", "db")


def test_requests_for_load_name_what_is_wrong(paths: Paths) -> None:
    assert parse_request(b'{"instance": "vm1", "load": "cpu"}', ["vm1"], ["cpu"]) == Request("vm1", "cpu")
    assert parse_request(b'{"instance": "vm1", "load": "stop"}', ["vm1"], ["cpu"]) == Request("vm1", "")
    for line, field in (
        (b"", "JSON"),
        (b"[1]", "JSON"),
        (b'{"instance": "x", "load": "cpu"}', "instance"),
        (b'{"instance": "vm1", "load": "x"}', "load"),
    ):
        with pytest.raises(ValueError, match=field):
            parse_request(line, ["vm1"], ["cpu"])
    with pytest.raises(StandaloneError, match="nothing runs"):
        ask_for_load(paths, "vm1", "cpu")
    paths.state.write_text(show_state(STATE))
    with pytest.raises(WrongRequest, match="loads of their own"):
        ask_for_load(paths, "vm1", "cpu")
    paths.state.write_text(show_state(replace(STATE, hosts=Hosts())))
    with pytest.raises(StandaloneError, match="does not answer"):
        ask_for_load(paths, "vm1", "cpu")


def test_wrong_use_is_one_line_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--hosts", "sim:0", "--directory", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("stella-bench: up: --hosts: ")
    assert error.count("\n") == 1
    assert main(["down", "--directory", str(tmp_path / "r")]) == 0
    assert main(["load", "vm1", "cpu", "--directory", str(tmp_path / "r")]) == 3
    assert not (tmp_path / "r").exists()
