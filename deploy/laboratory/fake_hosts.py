"""Compute hosts that are not there: a nova-compute with a fake driver each, and a simulated agent that Stella takes for a real one.

Servers of the image `stella-fake` run on them, without a port of Neutron (``--network none``); those of the laboratory's own image
do not, and fake ones not on its own host: each image names its kind of hypervisor. They are also the availability zone `fake`. Nova's
scheduler, Placement, stella-api and stella-engine are the real ones.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from laboratory import fake_computes, files
from laboratory.cloud import IMAGE, Cloud
from laboratory.enclosure import Enclosure
from laboratory.services import Service, Services
from laboratory.settings import REPOSITORY, LaboratoryError, Settings, write_private
from laboratory.steps import say

LARGEST = 50
ZONE = "fake"
FAKE_IMAGE = "stella-fake"
CORES = 8
_READY_SECONDS = 240.0
_GONE_SECONDS = 600.0
_AT_ONCE = 2
_MICROVERSION = "1.36"


def name(number: int) -> str:
    """Of the ``number``-th host, for Nova, Placement and Stella alike."""
    return f"{fake_computes.PREFIX}{number}"


def options_of(number: int, directory: Path) -> files.Sections:
    """What is another in a fake host's configuration of Nova. What a host does now and then by itself is off: it costs CPU."""
    return {
        "DEFAULT": {
            "host": name(number),
            "compute_driver": fake_computes.DRIVER,
            "state_path": directory / name(number),
            "instances_path": directory / name(number) / "instances",
            "reserved_host_memory_mb": 0,
            "report_interval": 20,
            "periodic_enable": "false",
            "rpc_conn_pool_size": 2,
            "executor_thread_pool_size": 8,
        },
        "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": 0},
        "image_cache": {"manager_interval": -1},
    }


class FakeHosts:
    """Adds and removes them. Hosts are started in batches, each one process of nova-computes and one of agents."""

    def __init__(
        self,
        settings: Settings,
        enclosure: Enclosure,
        services: Services,
        cloud: Cloud,
        discover: Callable[[], None],
    ) -> None:
        """``discover`` makes Nova look for new hosts at once."""
        self._settings, self._enclosure, self._services = settings, enclosure, services
        self._cloud, self._discover = cloud, discover
        self.directory = settings.data / "fake"
        self._note = self.directory / "batches.json"

    def batches(self) -> list[range]:
        """The numbers of the hosts that are there, as they were started."""
        if not self._note.exists():
            return []
        return [range(first, last + 1) for first, last in json.loads(self._note.read_text())]

    def have(self, count: int) -> None:
        """Have ``count`` of them. Raises `LaboratoryError`: some can be added, and all removed."""
        batches = self.batches()
        there = batches[-1][-1] if batches else 0
        if not 0 <= count <= LARGEST:
            raise LaboratoryError(f"at most {LARGEST} fake hosts")
        if 0 < count < there:
            raise LaboratoryError(f"there are {there} fake hosts: remove them first (fake-hosts 0)")
        if count == 0:
            self._remove(range(1, there + 1))
        elif count > there:
            batches.append(range(there + 1, count + 1))
            self._keep(batches)
        for batch in self.batches():
            self._ensure(batch)
        if count:
            self._join(range(1, count + 1))

    def _keep(self, batches: Sequence[range]) -> None:
        write_private(self._note, json.dumps([(batch[0], batch[-1]) for batch in batches]))

    # --- add

    def _ensure(self, batch: range) -> None:
        """Start what does not run. The agents are enrolled while nova-computes load."""
        say(f"  fake hosts {name(batch[0])} to {name(batch[-1])}")
        (self.directory / "instances").mkdir(parents=True, exist_ok=True)
        for number in batch:
            (self.directory / name(number)).mkdir(exist_ok=True)
        self._services.ensure(self._computes(batch))
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            list(pool.map(self._enroll, batch))
        self._services.ensure(self._agents(batch))

    def _computes(self, batch: range) -> Service:
        nova = self._settings.etc / "nova"
        drop_ins = sorted((nova / "nova.conf.d").glob("*.conf"))
        own = [
            files.write_ini(nova / "fake" / f"{name(number)}.conf", options_of(number, self.directory))
            for number in batch
        ]
        options = ["--config-file", str(nova / "nova-compute.conf")]
        if drop_ins:
            options += ["--config-dir", str(nova / "nova.conf.d")]
        program = [self._settings.program("python"), "-m", "laboratory.fake_computes", str(batch[0]), str(batch[-1])]
        return Service(
            name=f"fake-computes-{batch[0]}",
            argv=[*program, str(nova / "fake"), *options],
            files=[nova / "nova-compute.conf", *drop_ins, *own],
            environment={"PYTHONPATH": str(REPOSITORY / "deploy"), "MALLOC_ARENA_MAX": "2"},
        )

    def _agents(self, batch: range) -> Service:
        options: Mapping[str, object] = {
            "hosts": len(batch),
            "name-prefix": fake_computes.PREFIX,
            "first": batch[0],
            "api-url": self._settings.url("stella"),
            "credentials-dir": self.directory / "credentials",
            "state-dir": self.directory / "agents",
            "listed-instances": self.directory / "instances",
            "cores": CORES,
            "tick-milliseconds": 1000,
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        return Service(
            name=f"fake-agents-{batch[0]}",
            argv=[self._settings.program("stella-sim", "stella"), "run", *words],
            files=[self._credential(number) for number in batch],
        )

    def _credential(self, number: int) -> Path:
        return self.directory / "credentials" / name(number)

    def _manage(self, *words: str) -> str:
        program = self._settings.program("stella-manage", "stella")
        configuration = self._settings.etc / "stella" / "stella.conf"
        return self._enclosure.run([program, "--config-file", str(configuration), "host", *words])

    def _enroll(self, number: int) -> None:
        path = self._credential(number)
        if not path.exists():
            self._revoke(number)
            write_private(path, self._manage("enroll", name(number), "--mode", "enforce").splitlines()[-1] + "\n")

    def _revoke(self, number: int) -> None:
        try:
            self._manage("revoke", name(number))
        except LaboratoryError as error:
            if "is not enrolled" not in str(error):
                raise

    def _join(self, numbers: range) -> None:
        """Have Nova know them all, in their zone, and wait until Stella has put what they can guarantee into Placement."""
        admin = self._cloud.admin()
        names = {name(number) for number in numbers}
        _images(admin)
        self._wait(
            lambda: names - {each.host for each in _computes(admin) if each.state == "up"}, "nova-compute", "start"
        )
        self._discover()
        self._wait(lambda: names - {each.name for each in admin.compute.hypervisors()}, "Nova", "discover")
        zone = admin.compute.find_aggregate(ZONE) or admin.compute.create_aggregate(name=ZONE, availability_zone=ZONE)
        for host in sorted(names - set(zone.hosts or ())):
            admin.compute.add_host_to_aggregate(zone, host)
        providers = Providers(admin)
        self._wait(lambda: names - providers.ready(names), "stella-engine", "put into Placement")
        say(f"  {len(names)} fake hosts in the availability zone {ZONE!r}")

    def _wait(self, missing: Callable[[], set[str]], who: str, what: str, *, seconds: float = _READY_SECONDS) -> None:
        """Raises `LaboratoryError` that names what is missing still."""
        limit = time.monotonic() + seconds
        while left := missing():
            if time.monotonic() > limit:
                raise LaboratoryError(
                    f"{who} did not {what} {', '.join(sorted(left)[:5])} in {seconds:.0f} s; see {self._settings.logs}"
                )
            time.sleep(1.0)

    # --- remove

    def _remove(self, numbers: range) -> None:
        admin = self._cloud.admin()
        names = {name(number) for number in numbers}
        if not names:
            say("  there are no fake hosts")
            return
        self._delete_servers(admin, names)
        for batch in self.batches():
            for kind in ("agents", "computes"):
                self._services.stop(f"fake-{kind}-{batch[0]}")
                (self._services.directory / f"fake-{kind}-{batch[0]}.start").unlink(missing_ok=True)
        for each in _computes(admin):
            if each.host in names:
                admin.compute.delete_service(each)
        zone = admin.compute.find_aggregate(ZONE)
        if zone is not None and not set(zone.hosts or ()) - names:
            for host in zone.hosts or ():
                admin.compute.remove_host_from_aggregate(zone, host)
            admin.compute.delete_aggregate(zone)
        Providers(admin).delete(names)
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            list(pool.map(self._revoke, numbers))
        for path in (self.directory, self._settings.etc / "nova" / "fake"):
            shutil.rmtree(path, ignore_errors=True)
        say(f"  {len(names)} fake hosts removed")

    def _delete_servers(self, admin: Any, names: set[str]) -> None:
        def left() -> set[str]:
            found = admin.compute.servers(all_projects=True, availability_zone=ZONE)
            mine = [each for each in found if each.compute_host in names or each.compute_host is None]
            for each in mine:
                if each.task_state != "deleting":
                    admin.compute.delete_server(each, ignore_missing=True)
            return {each.name for each in mine}

        self._wait(left, "Nova", "delete", seconds=_GONE_SECONDS)


def _images(admin: Any) -> None:
    """The image of fake servers, and the laboratory's own kept away from fake hosts."""
    images = admin.image
    own = images.find_image(IMAGE)
    if own is not None and own.properties.get("img_hv_type") != "qemu":
        change = [{"op": "add", "path": "/img_hv_type", "value": "qemu"}]
        kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        answer = images.patch(f"/images/{own.id}", data=json.dumps(change), headers=kind)
        if answer.status_code != 200:
            raise LaboratoryError(f"the image {IMAGE} does not take img_hv_type: HTTP {answer.status_code}")
    if images.find_image(FAKE_IMAGE) is None:
        images.create_image(
            FAKE_IMAGE,
            data=bytes(512),
            container_format="bare",
            disk_format="raw",
            visibility="public",
            validate_checksum=False,
            img_hv_type="fake",
        )


def _computes(admin: Any) -> list[Any]:
    return list(admin.compute.services(binary="nova-compute"))


class Providers:
    """Placement's providers of fake hosts, asked with as few requests as it takes."""

    def __init__(self, admin: Any) -> None:
        self._placement = admin.placement
        self._ready: set[str] = set()

    def _get(self, path: str) -> Any:
        answer = self._placement.get(path, microversion=_MICROVERSION)
        return answer.json() if answer.status_code == 200 else {}

    def by_name(self) -> dict[str, str]:
        """Every provider's uuid."""
        return {one["name"]: one["uuid"] for one in self._get("/resource_providers").get("resource_providers", ())}

    def ready(self, names: set[str]) -> set[str]:
        """Those of the hosts whose child of Stella has an inventory."""
        there = self.by_name()
        for each in names - self._ready:
            child = there.get(f"{each}:stella")
            if child and self._get(f"/resource_providers/{child}/inventories").get("inventories"):
                self._ready.add(each)
        return self._ready & names

    def delete(self, names: set[str]) -> None:
        """What Nova left of them, with all that is allocated there. Raises `LaboratoryError`."""
        there = self.by_name()
        for host in sorted(names):
            for each in (f"{host}:stella", host):
                if each not in there:
                    continue
                path = f"/resource_providers/{there[each]}"
                for consumer in self._get(f"{path}/allocations").get("allocations", {}):
                    self._placement.delete(f"/allocations/{consumer}", microversion=_MICROVERSION)
                answer = self._placement.delete(path, microversion=_MICROVERSION)
                if answer.status_code not in (204, 404):
                    raise LaboratoryError(f"the resource provider {each} stays: HTTP {answer.status_code}")
