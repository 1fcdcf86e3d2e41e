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


class Server:
    """A server with its data below a directory. `start` and `stop` as often as wanted."""

    def __init__(self, directory: Path) -> None:
        """Make the system tables, as mariadb-install-db does, which needs the client's package."""
        program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
        if program is None:
            pytest.fail("the package mariadb-server-core is not installed: run scripts/setup.sh")
        self.socket, self._log = directory / "socket", directory / "log"
        data = directory / "data"
        data.mkdir()
        temporary = directory / "temporary"  # of its own: a server that starts removes what others have in a shared one
        temporary.mkdir()
        self._command = [program, "--no-defaults", f"--datadir={data}", f"--tmpdir={temporary}", "--user=root"]
        self._command += ["--innodb-buffer-pool-size=32M"]
        tables = "CREATE DATABASE mysql;\nUSE mysql;\n" + "\n".join(path.read_text() for path in _SYSTEM_TABLES)
        bootstrap = [*self._command, "--bootstrap"]
        made = subprocess.run(bootstrap, input=tables, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr[-2000:]
        self._command += [f"--socket={self.socket}", f"--pid-file={directory}/pid"]
        self._command += ["--skip-networking", "--skip-grant-tables"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(pymysql.OperationalError):
                pymysql.connect(unix_socket=str(self.socket), user="root").close()
                return
            time.sleep(0.1)
        pytest.fail(f"MariaDB did not start: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop it at once, as if its machine lost power."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def server(directory: Path) -> Iterator[Server]:
    """A server that runs until the block ends."""
    made = Server(directory)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def fresh_database(socket: Path) -> str:
    """An empty database; its URL."""
    with pymysql.connect(unix_socket=str(socket), user="root") as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS stella")
        cursor.execute("CREATE DATABASE stella CHARACTER SET utf8mb4")
    return f"mysql+pymysql://root@localhost/stella?unix_socket={socket}&charset=utf8mb4"
