"""What the control plane stands on: MariaDB, RabbitMQ, memcached; each the laboratory's own."""

import subprocess
from pathlib import Path

from laboratory import files
from laboratory.enclosure import Enclosure
from laboratory.services import Service, Services
from laboratory.settings import CACHE_PORT, DATABASE_PORT, QUEUE_PORT, LaboratoryError, Settings

DATABASES = ("keystone", "placement", "glance", "nova_api", "nova", "nova_cell0", "neutron")


class Infrastructure:
    """Each method is one step."""

    def __init__(self, settings: Settings, enclosure: Enclosure, services: Services) -> None:
        self._settings, self._enclosure, self._services = settings, enclosure, services

    def _listens(self, port: int) -> bool:
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        argv = self._enclosure.inside(["/bin/bash", "-c", script])
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def _mariadb(self) -> Service:
        directory = self._settings.volatile / "mariadb"
        return Service(
            name="mariadb",
            argv=[
                *("/usr/sbin/mariadbd", "--no-defaults", "--user=root", f"--datadir={directory}"),
                *(f"--socket={self._socket}", f"--port={DATABASE_PORT}", "--bind-address=127.0.0.1"),
                *("--max-connections=500", "--innodb-buffer-pool-size=192M", "--performance-schema=OFF"),
                # The data is in memory: writing it twice protects from nothing.
                *("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-name-resolve"),
                "--plugin-load-add=auth_socket",
            ],
            ready=lambda: self._sql("select 1") is not None,
        )

    @property
    def _socket(self) -> Path:
        return self._settings.volatile / "run" / "mariadb.sock"

    def _sql(self, text: str) -> str | None:
        argv = ["/usr/bin/mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", "--batch"]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def mariadb_done(self) -> bool:
        """Whether it runs with its databases."""
        return (self._settings.stamps / "databases").exists() and self._services.is_current(self._mariadb())

    def mariadb(self) -> None:
        """A server with data in memory (on a disk the schemas take ten times as long), a database and user for each service."""
        directory = self._settings.volatile / "mariadb"
        if not (directory / "mysql").is_dir():
            self._enclosure.run(
                [
                    *("/usr/bin/mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={directory}"),
                    *("--auth-root-authentication-method=socket", "--auth-root-socket-user=root", "--skip-test-db"),
                ]
            )
        self._services.ensure(self._mariadb())
        password = self._settings.passwords["database"]  # of the alphabet of URLs: it needs no quoting
        text = ""
        for name in DATABASES:
            user = name.split("_")[0]
            text += f"create database if not exists {name} character set utf8mb4;\n"
            for host in ("127.0.0.1", "localhost"):
                text += f"create user if not exists {user}@'{host}' identified by '{password}';\n"
                text += f"grant all on {name}.* to {user}@'{host}';\n"
        if self._sql(text) is None:
            raise LaboratoryError(f"MariaDB refused the databases: {self._services.last_words('mariadb')}")
        (self._settings.stamps / "databases").touch()

    def _rabbitmq(self) -> Service:
        settings = self._settings
        directory, configuration = settings.volatile / "rabbitmq", settings.etc / "rabbitmq" / "rabbitmq.conf"
        files.write(
            configuration,
            f"listeners.tcp.1 = 127.0.0.1:{QUEUE_PORT}\nvm_memory_high_watermark.absolute = 512MB\n"
            f"default_user = stella\ndefault_pass = {settings.passwords['queue']}\nlog.console.level = warning\n",
        )
        plugins = files.write(settings.etc / "rabbitmq" / "plugins", "[].\n")
        return Service(
            name="rabbitmq",
            argv=["/usr/lib/rabbitmq/bin/rabbitmq-server"],
            files=[configuration],
            environment={
                "HOME": str(directory),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODENAME": "stella@localhost",
                "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
                "RABBITMQ_LOG_BASE": str(settings.logs / "rabbitmq"),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_CONFIG_FILE": str(configuration.with_suffix("")),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_PID_FILE": str(directory / "pid"),
                # One scheduler that sleeps when there is nothing to do.
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            },
            ready=lambda: self._listens(QUEUE_PORT),
        )

    def rabbitmq_done(self) -> bool:
        """Whether it runs."""
        return self._services.is_current(self._rabbitmq())

    def rabbitmq(self) -> None:
        """The message queue of Nova and Neutron."""
        for directory in (self._settings.volatile / "rabbitmq", self._settings.logs / "rabbitmq"):
            directory.mkdir(parents=True, exist_ok=True)
        self._services.ensure(self._rabbitmq())

    def _memcached(self) -> Service:
        argv = ["/usr/bin/memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(CACHE_PORT), "-m", "64"]
        return Service(name="memcached", argv=argv, ready=lambda: self._listens(CACHE_PORT))

    def memcached_done(self) -> bool:
        """Whether it runs."""
        return self._services.is_current(self._memcached())

    def memcached(self) -> None:
        """The cache of tokens."""
        self._services.ensure(self._memcached())
