"""A MariaDB of the test's own: the distribution's server on a directory and a socket, without network."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

_SYSTEM_TABLES = (
    Path("/usr/share/mysql/mysql_system_tables.sql"),
    Path("/usr/share/mysql/mysql_system_tables_data.sql"),
)


@contextlib.contextmanager
def server(directory: Path) -> Iterator[Path]:
    """Start a server that ends with the block; its socket is given."""
    program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("the package mariadb-server-core is not installed")
    data, socket = directory / "data", directory / "socket"
    data.mkdir()
    command = [program, "--no-defaults", f"--datadir={data}", "--user=root", "--innodb-buffer-pool-size=32M"]
    # what mariadb-install-db does, which needs the client's package
    tables = "CREATE DATABASE mysql;\nUSE mysql;\n" + "\n".join(path.read_text() for path in _SYSTEM_TABLES)
    made = subprocess.run([*command, "--bootstrap"], input=tables, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    command += [f"--socket={socket}", f"--pid-file={directory}/pid", "--skip-networking", "--skip-grant-tables"]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(process, socket, directory / "log")
            yield socket
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(pymysql.OperationalError):
            pymysql.connect(unix_socket=str(socket), user="root").close()
            return
        time.sleep(0.1)
    pytest.fail(f"MariaDB did not start: {log.read_text()[-2000:]}")


def fresh_database(socket: Path) -> str:
    """An empty database; its URL."""
    with pymysql.connect(unix_socket=str(socket), user="root") as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS stella")
        cursor.execute("CREATE DATABASE stella CHARACTER SET utf8mb4")
    return f"mysql+pymysql://root@localhost/stella?unix_socket={socket}&charset=utf8mb4"
