"""Keystone, Placement, Glance, Nova and Neutron: their configuration, their databases' schemas, their services."""

import http.client
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from laboratory import files, neutron
from laboratory.enclosure import CONTROL_PLANE_MEMORY_MB, Enclosure
from laboratory.services import Service
from laboratory.settings import CACHE_PORT, REGION, LaboratoryError, Settings

NOTIFICATIONS = "stella-notifications.conf"
"""What Stella's role leaves for every service of Nova; its other drop-in is for controllers."""


def answers_http(port: int, path: str = "/") -> bool:
    """Whether an HTTP service on this machine's 127.0.0.1 answers with anything but a server error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class ControlPlane:
    """Each method is one step, or one service of a step."""

    def __init__(self, settings: Settings, enclosure: Enclosure) -> None:
        self._settings, self._enclosure = settings, enclosure

    def _path(self, name: str) -> Path:
        service = name.split("-", maxsplit=1)[0].split(".", maxsplit=1)[0]
        return self._settings.etc / service / name

    def configure(self) -> None:
        """Write every configuration file."""
        settings = self._settings
        shims = settings.data / "shims"
        shims.mkdir(parents=True, exist_ok=True)
        sudo = files.write(shims / "sudo", '#!/bin/sh\nexec "$@"\n')  # the laboratory runs as root
        sudo.chmod(0o700)
        if (
            settings.host_cpus
        ):  # what Nova would do on another host with `ssh -o BatchMode=yes HOST COMMAND`: all see the same storage
            files.write(shims / "ssh", '#!/bin/sh\nshift 3\nexec "$@"\n').chmod(0o700)
        source = settings.environments / "services" / "etc"
        for service in ("glance", "nova", "neutron"):
            shutil.copytree(source / service, settings.etc / service, dirs_exist_ok=True)
        for directory in ("images", "staging", "tasks", "instances", "locks", "nova", "neutron"):
            (settings.data / directory).mkdir(parents=True, exist_ok=True)
        self._keystone_files()
        self._placement_files()
        self._glance_files()
        self._nova_files()
        neutron.write_files(settings)

    # --- Keystone

    def _keystone_files(self) -> None:
        etc = self._settings.etc / "keystone"
        files.write_ini(
            self._path("keystone.conf"),
            {
                "DEFAULT": {},
                "database": {"connection": self._settings.database("keystone")},
                "token": {"provider": "fernet"},
                "fernet_tokens": {"key_repository": etc / "fernet"},
                "credential": {"key_repository": etc / "credential"},
                "cache": {
                    "enabled": "true",
                    "backend": "dogpile.cache.pymemcache",
                    "memcache_servers": f"127.0.0.1:{CACHE_PORT}",
                },
            },
        )

    def keystone_schema(self) -> None:
        """Keystone's database, keys, first user and catalogue."""
        etc, url = self._settings.etc / "keystone", f"{self._settings.keystone}/"
        manage = [self._settings.program("keystone-manage"), "--config-file", str(self._path("keystone.conf"))]
        for directory in ("fernet", "credential"):
            (etc / directory).mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = ["--keystone-user", "root", "--keystone-group", "root"]
        self._enclosure.run([*manage, "db_sync"])
        self._enclosure.run([*manage, "fernet_setup", *owner])
        self._enclosure.run([*manage, "credential_setup", *owner])
        self._enclosure.run(
            [
                *(*manage, "bootstrap", "--bootstrap-region-id", REGION),
                *("--bootstrap-admin-url", url, "--bootstrap-internal-url", url, "--bootstrap-public-url", url),
            ],
            environment={"OS_BOOTSTRAP_PASSWORD": self._settings.passwords["admin"]},
        )
        self._stamp("keystone")

    # --- schemas of the others

    def placement_schema(self) -> None:
        """Placement's database."""
        self._manage("placement-manage", "placement.conf", ["db", "sync"])
        self._stamp("placement")

    def glance_schema(self) -> None:
        """Glance's database."""
        self._manage("glance-manage", "glance-api.conf", ["db_sync"])
        self._stamp("glance")

    def nova_schema(self) -> None:
        """Nova's three databases and its cell."""
        self._manage("nova-manage", "nova.conf", ["api_db", "sync"])
        # Its address is derived from [database] connection: as an argument it would show the password to all.
        self._manage("nova-manage", "nova.conf", ["cell_v2", "map_cell0"])
        self._manage("nova-manage", "nova.conf", ["db", "sync"])
        if "cell1" not in self._manage("nova-manage", "nova.conf", ["cell_v2", "list_cells"]):
            self._manage("nova-manage", "nova.conf", ["cell_v2", "create_cell", "--name=cell1"])
        self._stamp("nova")

    def discover_hosts(self) -> None:
        """Map new compute hosts into the cell. That Nova's scheduler, which looks as well, was first, is no error."""
        try:
            self._manage("nova-manage", "nova.conf", ["cell_v2", "discover_hosts"])
        except LaboratoryError as error:
            if "Duplicate host mapping" not in str(error):
                raise

    def neutron_schema(self) -> None:
        """Neutron's database."""
        options = [word for path in self._neutron_paths() for word in ("--config-file", str(path))]
        argv = [self._settings.program("neutron-db-manage"), *options, "upgrade", "head"]
        self._enclosure.run(argv)
        self._stamp("neutron")

    def has_schema(self, name: str) -> Callable[[], bool]:
        """Whether that was done on the database as it is now."""
        return (self._settings.stamps / f"schema-{name}").exists

    def _stamp(self, name: str) -> None:
        (self._settings.stamps / f"schema-{name}").touch()

    def _manage(self, program: str, file: str, words: list[str]) -> str:
        return self._enclosure.run([self._settings.program(program), "--config-file", str(self._path(file)), *words])

    # --- Placement, Glance

    def _placement_files(self) -> None:
        settings = self._settings
        files.write_ini(
            self._path("placement.conf"),
            {
                "api": {"auth_strategy": "keystone"},
                "placement_database": {
                    # Otherwise Placement may give the last room twice: docs/openstack/placement.md
                    "connection": f"{settings.database('placement')}"
                    "&init_command=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+READ+COMMITTED"
                },
                **files.token_checks(settings, "placement"),
            },
        )

    def _glance_files(self) -> None:
        settings = self._settings
        files.write_ini(
            self._path("glance-api.conf"),
            {
                "DEFAULT": {
                    "enabled_backends": "images:file",
                    "enabled_import_methods": "[]",
                    "worker_self_reference_url": settings.url("glance"),
                },
                "database": {"connection": settings.database("glance")},
                "glance_store": {"default_backend": "images"},
                "images": {"filesystem_store_datadir": settings.data / "images"},
                "os_glance_staging_store": {"filesystem_store_datadir": settings.data / "staging"},
                "os_glance_tasks_store": {"filesystem_store_datadir": settings.data / "tasks"},
                "paste_deploy": {"flavor": "keystone", "config_file": settings.etc / "glance" / "glance-api-paste.ini"},
                "image_format": {"disk_formats": "ami,ari,aki,raw,qcow2"},
                **files.token_checks(settings, "glance"),
            },
        )

    # --- Nova

    def _nova_files(self) -> None:
        settings = self._settings
        common: dict[str, Mapping[str, object]] = {
            "DEFAULT": {
                "concurrency_backend": "threading",
                "transport_url": settings.queue,
                "my_ip": "127.0.0.1",
                "host": settings.controller.name,
                "state_path": settings.data / "nova",
                "instances_path": settings.data / "instances",
                "compute_driver": "libvirt.LibvirtDriver",
                "report_interval": 10,
                "service_down_time": 60,
                "vif_plugging_timeout": 120,
                "shutdown_timeout": 5,  # the guests have no ACPI daemon: waiting the usual 60 s changes nothing
                "reserved_host_memory_mb": CONTROL_PLANE_MEMORY_MB,
                "ram_allocation_ratio": "1.0",
                "cpu_allocation_ratio": "8.0",
                "allow_resize_to_same_host": str(not settings.host_cpus).lower(),  # where there is no other
                # Where disk performance is sold, disks are raw files that have their space, which QEMU reads with aio=native.
                # `images_type = raw` alone would not do: a resize would then leave a qcow2 file that is read as raw.
                "use_cow_images": "false",
                "preallocate_images": "space",
                "shelved_offload_time": 0,
            },
            "api": {"auth_strategy": "keystone"},
            "oslo_concurrency": {"lock_path": settings.data / "locks"},
            "conductor": {"workers": 1},
            "quota": {"instances": 100, "cores": 200, "ram": 204_800},  # fake hosts are many
            "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 10},
            # A snapshot, which shelving makes, is small all the same.
            "libvirt": {"virt_type": "qemu", "snapshot_image_format": "qcow2"},
            "vnc": {"enabled": "false"},
            "glance": {"api_servers": settings.url("glance")},
            "placement": files.client(settings, "placement"),
            "neutron": {**files.client(settings, "neutron"), "service_metadata_proxy": "false"},
            "service_user": {"send_service_user_token": "true", **files.client(settings, "nova")},
            "workarounds": {"disable_rootwrap": "true"},
            **files.token_checks(settings, "nova"),
        }
        stores: dict[str, Mapping[str, object]] = {
            "api_database": {"connection": settings.database("nova_api")},
            "database": {"connection": settings.database("nova")},
        }
        files.write_ini(self._path("nova.conf"), {**common, **stores})
        files.write_ini(self._path("nova-compute.conf"), common)  # a compute node must not know the database

    def _nova_program(self, name: str) -> Service:
        """One program of Nova's controllers, with what Stella's role leaves for it: options and, in the scheduler, the filter."""
        paths = [self._path("nova.conf"), *self._nova_drop_ins()]
        return self.program(name, paths, also_reads=self._nova_plugin() if name == "nova-scheduler" else ())

    def program(
        self, name: str, configuration: Sequence[Path], *, also_reads: Sequence[Path] = (), stop_seconds: int = 8
    ) -> Service:
        """A program of OpenStack with these configuration files, later ones first."""
        argv = [
            self._settings.program(name),
            *(word for path in configuration for word in ("--config-file", str(path))),
        ]
        return Service(
            name=name,
            argv=argv,
            files=[*configuration, *also_reads],
            environment=self._with_shims(),
            stop_seconds=stop_seconds,
        )

    def _nova_drop_ins(self) -> list[Path]:
        return sorted((self._settings.etc / "nova" / "nova.conf.d").glob("*.conf"))

    def _nova_plugin(self) -> list[Path]:
        """The list of stella-nova's installed files with their digests."""
        directory = self._settings.environments / "services" / "lib"
        return sorted(directory.glob("python3*/site-packages/stella_nova-*.dist-info/RECORD"))

    def _with_shims(self) -> dict[str, str]:
        programs = self._settings.environments / "services" / "bin"
        return {
            "PATH": f"{self._settings.data / 'shims'}:{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        }

    # --- Neutron

    def _neutron_paths(self) -> list[Path]:
        return [self._path(name) for name in ("neutron.conf", "neutron-ml2.conf")]

    # --- services

    def _wsgi(
        self,
        service: str,
        module: str,
        environment: dict[str, str],
        *,
        workers: int = 1,
        threads: int = 4,
        files_read: Sequence[Path] = (),
    ) -> Service:
        """A service under gunicorn. These services parse sys.argv themselves, so gunicorn is told all by the environment."""
        port = self._settings.ports[service]
        path = files.write(
            self._settings.etc / "gunicorn" / f"{service}.py",
            f'wsgi_app = "{module}"\nbind = "127.0.0.1:{port}"\nworker_class = "gthread"\nworkers = {workers}\n'
            f'threads = {threads}\ntimeout = 120\ngraceful_timeout = 2\nkeepalive = 30\nworker_tmp_dir = "/dev/shm"\n'
            "control_socket_disable = True\nlimit_request_line = 8190\n",  # as Apache: Nova asks Neutron in long lines
        )
        etc = self._settings.etc / service
        return Service(
            name=f"{service}-api",
            argv=[self._settings.program("gunicorn")],
            files=[path, *sorted(etc.glob("*.conf")), *files_read],
            environment={**environment, "GUNICORN_CMD_ARGS": f"-c {path}", **self._with_shims()},
            ready=lambda: answers_http(port),
        )

    def keystone_api(self) -> Service:
        """Keystone."""
        environment = {
            "OS_KEYSTONE_CONFIG_DIR": str(self._settings.etc / "keystone"),
            "OS_KEYSTONE_CONFIG_FILES": "keystone.conf",
        }
        return self._wsgi("keystone", "keystone.wsgi.api:application", environment, workers=2, threads=1)

    def placement_api(self) -> Service:
        """Placement."""
        environment = {"OS_PLACEMENT_CONFIG_DIR": str(self._settings.etc / "placement")}
        return self._wsgi("placement", "placement.wsgi.api:application", environment)

    def glance_api(self) -> Service:
        """Glance."""
        environment = {"OS_GLANCE_CONFIG_DIR": str(self._settings.etc / "glance")}
        return self._wsgi("glance", "glance.wsgi.api:application", environment)

    def nova_api(self) -> Service:
        """Nova's API."""
        drop_ins = self._nova_drop_ins()
        environment = {
            "OS_NOVA_CONFIG_DIR": str(self._settings.etc / "nova"),
            "OS_NOVA_CONFIG_FILES": ";".join(["api-paste.ini", "nova.conf", *map(str, drop_ins)]),
        }
        read = [*drop_ins, *self._nova_plugin()]
        return self._wsgi("nova", "nova.wsgi.osapi_compute:application", environment, threads=6, files_read=read)

    def neutron_api(self) -> Service:
        """Neutron's API."""
        environment = {
            "OS_NEUTRON_CONFIG_DIR": str(self._settings.etc / "neutron"),
            "OS_NEUTRON_CONFIG_FILES": "neutron.conf;neutron-ml2.conf",
        }
        return self._wsgi("neutron", "neutron.wsgi.api:application", environment)

    def nova_workers(self) -> tuple[Service, ...]:
        """Nova's conductor and scheduler."""
        return self._nova_program("nova-conductor"), self._nova_program("nova-scheduler")

    def neutron_rpc(self) -> Service:
        """Neutron's RPC server; agents that call before it listens wait for a time-out of a minute."""
        service = self.program("neutron-rpc-server", self._neutron_paths(), stop_seconds=2)
        log = self._settings.logs / "neutron-rpc-server.log"
        return Service(
            name=service.name,
            argv=service.argv,
            files=service.files,
            environment=service.environment,
            ready=lambda: log.exists() and "Selected multiprocessing start method" in log.read_text(errors="replace"),
        )
