"""A MariaDB of the run's own: the distribution's server on a directory and a socket, without network."""

import shutil
import subprocess
from pathlib import Path

import pymysql

from stella.bench.scale.processes import NotStarted, Process

_SYSTEM_TABLES = (
    Path("/usr/share/mysql/mysql_system_tables.sql"),
    Path("/usr/share/mysql/mysql_system_tables_data.sql"),
)
BUFFER_POOL = "512M"


class MariaDb:
    """A server with its data below a directory, with MariaDB's own defaults but for `BUFFER_POOL`: each commit is synced to disk."""

    def __init__(self, directory: Path, *, cores: frozenset[int]) -> None:
        """Make the system tables, start it and wait until it answers. Raises `NotStarted`."""
        program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
        if program is None:
            raise NotStarted("the package mariadb-server-core is not installed: run scripts/setup.sh")
        self.socket = directory / "socket"
        data = directory / "data"
        data.mkdir(parents=True)
        command = [program, "--no-defaults", f"--datadir={data}", "--user=root"]
        command.append(f"--innodb-buffer-pool-size={BUFFER_POOL}")
        tables = "CREATE DATABASE mysql;\nUSE mysql;\n" + "\n".join(path.read_text() for path in _SYSTEM_TABLES)
        made = subprocess.run([*command, "--bootstrap"], input=tables, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise NotStarted(made.stderr[-2000:])
        command += [
            f"--socket={self.socket}",
            f"--pid-file={directory}/pid",
            "--skip-networking",
            "--skip-grant-tables",
        ]
        self.process = Process(command, log=directory / "log", cores=cores)
        try:
            self.process.wait_until(self._answers)
        except BaseException:
            self.process.stop()
            raise

    def _answers(self) -> bool:
        try:
            pymysql.connect(unix_socket=str(self.socket), user="root").close()
        except pymysql.OperationalError:
            return False
        return True

    def create(self, name: str) -> str:
        """An empty database; its URL."""
        with pymysql.connect(unix_socket=str(self.socket), user="root") as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return f"mysql+pymysql://root@localhost/{name}?unix_socket={self.socket}&charset=utf8mb4"

    def version(self) -> str:
        """What the server calls itself."""
        with pymysql.connect(unix_socket=str(self.socket), user="root") as connection:
            return str(connection.get_server_info())
