"""The laboratory's own machinery: ports, private files, steps, the supervisor, the portal; no OpenStack."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from laboratory import files, settings, steps
from laboratory.settings import LaboratoryError

DEPLOY = Path(settings.__file__).parent
PATIENCE_SECONDS = 20.0


def wait_until(is_true: Callable[[], bool]) -> bool:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on 127.0.0.1 where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_port_that_is_taken_is_replaced(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.PUBLIC_PORTS, "nova", taken)
    ports = settings.choose_ports("")
    assert ports["nova"] >= settings.FIRST_OTHER_PORT
    assert len(set(ports.values())) == len(settings.PUBLIC_PORTS)


@pytest.mark.parametrize("wanted", ["nova", "nova=", "nova=99999", "cinder=8776"])
def test_a_wanted_port_that_cannot_be_is_named(wanted: str) -> None:
    with pytest.raises(LaboratoryError, match=wanted.split("=", maxsplit=1)[0]):
        settings.choose_ports(wanted)


def test_a_wanted_port_that_is_taken_is_refused(taken: int) -> None:
    with pytest.raises(LaboratoryError, match=f"port {taken} for nova is taken"):
        settings.choose_ports(f"nova={taken}")


def test_files_with_passwords_are_private_and_written_only_when_they_differ(tmp_path: Path) -> None:
    path = files.write_ini(tmp_path / "a" / "x.conf", {"database": {"connection": "mysql://u:p@h/d"}})
    first = path.stat()
    assert stat.S_IMODE(first.st_mode) == 0o600
    assert path.read_text() == "[database]\nconnection = mysql://u:p@h/d\n"
    files.write_ini(path, {"database": {"connection": "mysql://u:p@h/d"}})
    assert path.stat().st_ino == first.st_ino
    files.write_ini(path, {"database": {"connection": "other"}})
    assert path.stat().st_ino != first.st_ino and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_steps_wait_for_those_before_and_are_not_done_twice() -> None:
    order: list[str] = []

    def step(name: str, *after: str, done: bool = False) -> steps.Step:
        return steps.Step(name=name, run=lambda: order.append(name), done=lambda: done, after=after)

    assert steps.run([step("c", "b"), step("b", "a"), step("a"), step("d", "a", done=True)])
    assert order == ["a", "b", "c"]


def test_a_step_that_fails_holds_up_those_after_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def fail() -> None:
        raise LaboratoryError("no room; make some")

    made = [
        steps.Step(name="bad", run=fail),
        steps.Step(name="after", run=lambda: order.append("after"), after=("bad",)),
        steps.Step(name="beside", run=lambda: order.append("beside")),
    ]
    assert not steps.run(made)
    assert order == ["beside"]
    assert "bad" in capsys.readouterr().out


def supervise(directory: Path, *command: str) -> "subprocess.Popen[bytes]":
    argv = [str(DEPLOY / "supervise.sh"), str(directory), "it", *command]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def test_the_supervisor_starts_again_what_ended(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    process = supervise(tmp_path, "/bin/sh", "-c", f"echo x >> {seen}; exit 3")
    try:
        assert wait_until(lambda: seen.exists() and seen.read_text().count("x") >= 2)
        assert int((tmp_path / "it.pid").read_text()) == process.pid
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    assert not (tmp_path / "it.pid").exists()


def test_the_supervisor_ends_what_does_not_end_by_itself(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"trap '' TERM; echo $$ > {child}; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        [str(DEPLOY / "supervise.sh"), str(tmp_path), "it", "/bin/sh", "-c", script],
        env={**os.environ, "STOP_SECONDS": "1"},
        start_new_session=True,
    )
    assert wait_until(lambda: child.exists() and child.read_text().strip().isdigit())
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_SECONDS)
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_the_portal_forwards_into_a_network_namespace() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    echo = (
        "import socket, subprocess; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
        f"s = socket.create_server(('127.0.0.1', {port})); print('up', flush=True)\n"
        "while True:\n    c, _ = s.accept()\n    c.sendall(c.recv(100).upper()); c.close()\n"
    )
    inner = subprocess.Popen(
        ["/usr/bin/unshare", "--net", sys.executable, "-c", echo], stdout=subprocess.PIPE, text=True
    )
    portal = None
    try:
        assert inner.stdout is not None and inner.stdout.readline() == "up\n"
        portal = subprocess.Popen([sys.executable, str(DEPLOY / "portal.py"), str(inner.pid), str(port)])

        def ask() -> bytes:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                    client.sendall(b"hello")
                    return client.recv(100)
            except OSError:
                return b""

        assert wait_until(lambda: ask() == b"HELLO")
        answers: list[bytes] = []
        threads = [threading.Thread(target=lambda: answers.append(ask())) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [b"HELLO"] * 20
        inner.kill()
        inner.wait()
        assert ask() == b""
    finally:
        for process in (inner, portal):
            if process is not None:
                process.kill()
                process.wait()
