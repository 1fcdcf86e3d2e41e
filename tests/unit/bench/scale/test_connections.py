"""The generator's connections against a server of a few lines, and processes that end with what started them."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stella.bench.scale.http_client import Answer, Connection, NoAnswer
from stella.bench.scale.processes import NotStarted, Process, divide_cores
from stella.bench.scale.timings import Timings
from stella.bench.scale.users import Pool, at_rate, get, timed

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _asked(serve: Serve, ask: Callable[[int], Awaitable[None]]) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        await ask(server.sockets[0].getsockname()[1])


def test_answers_with_and_without_body_on_one_connection_also_in_pieces() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"HTTP/1.1 200 OK\r\nContent-Le", b'ngth: 5\r\nETag: "7"\r\n\r\nhe', b"llo"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"If-None-Match: 7" in head
        writer.write(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async def ask(port: int) -> None:
        connection = Connection(port)
        assert await connection.ask("GET", "/a") == Answer(status=200, body=b"hello", etag='"7"')
        second = await connection.ask("GET", "/a", "If-None-Match: 7\r\n")
        assert (second.status, second.body, connection.opened) == (304, b"", 1)
        connection.close()

    asyncio.run(_asked(serve, ask))


def test_a_connection_that_the_server_cut_is_no_answer_and_then_opened_again() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async def ask(port: int) -> None:
        connection = Connection(port)
        for opened in (1, 2):
            with pytest.raises(NoAnswer, match="closed"):
                await connection.ask("GET", "/")
            assert connection.opened == opened

    asyncio.run(_asked(serve, ask))


def test_no_server_is_no_answer() -> None:
    async def ask() -> None:
        with pytest.raises(NoAnswer):
            await Connection(1).ask("GET", "/")

    asyncio.run(ask())


def test_requests_at_a_rate_are_timed_from_when_they_were_due() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    async def ask(port: int) -> None:
        pool, timings = Pool(port), Timings()
        timings.begin()
        await timed(pool, get("read", "/", "token"), time.monotonic() - 3.0, timings)
        assert timings.kinds["read"].p50_seconds >= 3.0 and min(timings.lags) >= 3.0
        assert timings.count_status(500, 599) == 1
        dues: list[float] = []

        async def note(due: float) -> None:
            dues.append(due)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await at_rate(100.0, note)
        assert dues[4] - dues[0] == pytest.approx(0.04)
        pool.close()

    asyncio.run(_asked(serve, ask))


def test_a_process_is_stopped_with_its_children_and_its_cpu_time_is_counted(tmp_path: Path) -> None:
    program = (
        "import os, time\nos.fork()\nwhile time.process_time() < 0.2: pass\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    log = tmp_path / "log"
    process = Process([sys.executable, "-c", program], log=log, cores=divide_cores().measured)
    process.wait_until(lambda: log.read_text().count("ready") == 2)
    assert process.cpu_seconds > 0.1 and process.resident_bytes > 1e6 and process.alive
    process.stop()
    end = time.monotonic() + 15
    while process.cpu_seconds and time.monotonic() < end:  # the kernel takes a moment to end what was killed
        time.sleep(0.01)
    assert not process.alive and process.cpu_seconds == 0.0


def test_a_process_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    process = Process(
        [sys.executable, "-c", "raise SystemExit('no such table')"],
        log=tmp_path / "log",
        cores=divide_cores().measured,
    )
    with pytest.raises(NotStarted, match="no such table"):
        process.wait_until(lambda: False)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys, time\nfrom stella.bench.scale.processes import Process, divide_cores\n"
        f"p = Process(['sleep', '600'], log=pathlib.Path({str(tmp_path / 'log')!r}), cores=divide_cores().measured)\n"
        "comm = pathlib.Path(f'/proc/{p._process.pid}/comm')\n"
        "p.wait_until(lambda: comm.read_text() == 'sleep\\n')\n"
        "print(p._process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid, end = int(done.stdout), time.monotonic() + 15
    while _runs(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
