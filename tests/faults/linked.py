"""A host under a real API: stella-api as a process, the agent as a process on a copy of a recorded host, and two SLOs in force.

``vm1`` has a floor (a weight), ``vm3`` a ceiling (quotas, which the guard lifts when the agent stops ticking).
"""

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from stella.db.models import Instance, Minute
from tests.functional.agents import RECORDED, RealAgent
from tests.functional.conftest import Cloud
from tests.functional.process import Server, wait

MACHINE = "sys/fs/cgroup/cpu/machine"
WEIGHT = f"{MACHINE}/qemu-1-vm1.libvirt-qemu/cpu.shares"
QUOTAS = tuple(f"{MACHINE}/qemu-2-vm3.libvirt-qemu/vcpu{n}/cpu.cfs_quota_us" for n in range(4))
NO_QUOTA = "-1"
FLOOR, CEILING = {"cpu": {"floor": 0.2}}, {"cpu": {"ceiling": 1.0}}
_MINUTE = 60


@dataclass
class Linked:
    """A real API and a real agent on a recorded host, whose instances have SLOs that are enforced."""

    cloud: Cloud
    server: Server
    agent: RealAgent
    generations: Mapping[str, int]
    without: str

    def path(self, name: str = "vm1") -> str:
        return f"/v1/instances/{uuid_of(self.cloud, name)}/slo"

    def knob(self, path: str) -> str:
        """The value of a knob. The tree is of ordinary files, so a reader can meet one between truncation and write."""
        for _ in range(200):
            if value := (self.agent.root / path).read_text().strip():
                return value
            time.sleep(0.005)
        raise AssertionError(f"{path} stays empty")

    def weight(self) -> str:
        return self.knob(WEIGHT)

    def is_kept(self) -> bool:
        """Whether the floor is in force on the host."""
        return self.weight() != self.without

    def restrained(self) -> int:
        """How many vCPUs have a quota."""
        return sum(self.knob(path) != NO_QUOTA for path in QUOTAS)

    def holds(self) -> bool:
        """Whether both SLOs are in force on the host."""
        return self.is_kept() and self.restrained() == len(QUOTAS)

    def knobs(self) -> dict[str, str]:
        """All weights and quotas of instances."""
        root = self.agent.root / MACHINE
        found = [p for name in ("cpu.shares", "cpu.cfs_quota_us") for p in root.rglob(name)]
        return {str(p.relative_to(self.agent.root)): self.knob(str(p.relative_to(self.agent.root))) for p in found}

    def status(self) -> dict[str, Any]:
        """What the agent says of itself; empty while it does not answer."""
        told = self.agent.xgos("status", "-f", "json")
        found: dict[str, Any] = json.loads(told.stdout) if told.returncode == 0 else {}
        return found

    def log(self) -> str:
        return self.agent.log.read_text()[-4000:]

    def require_slo(self) -> None:
        """No SLO was lost or changed in the cloud."""
        for name, generation in self.generations.items():
            shown = self.cloud.admin.get(self.path(name)).json
            assert (shown["state"], shown["generation"]) == ("enforced", generation), shown

    def connected(self, seconds: float = 90) -> float:
        """Wait until the agent speaks with the API; the seconds that took."""
        began = time.monotonic()
        assert wait(lambda: self.agent.link().get("connected"), seconds), self.log()
        return time.monotonic() - began

    def until_holds(self, seconds: float) -> float:
        """Wait until both SLOs are in force on the host; the seconds that took."""
        began = time.monotonic()
        while not self.holds():
            assert time.monotonic() - began < seconds, (self.weight(), self.restrained(), self.log())
            time.sleep(0.01)
        return time.monotonic() - began

    def keeps(self, seconds: float) -> None:
        """Both SLOs stay in force on the host all the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.holds(), (self.weight(), self.restrained(), self.log())
            time.sleep(0.02)

    def reboot(self) -> None:
        """As a power cut leaves a host: no process, every knob as the kernel makes it, no run directory; the disk stays."""
        self.agent.stop(signal.SIGKILL)
        directory = self.agent.root.parent
        shutil.rmtree(directory / "run")
        shutil.rmtree(self.agent.root)
        shutil.copytree(RECORDED, self.agent.root)

    def check_minutes(self, started: float) -> None:
        """After the agent stopped: every minute is there once, and all but the first and last are whole."""
        ended, minutes = time.time(), minutes_of(self.cloud)
        starts = [minute.start for minute in minutes]
        assert starts == list(range(starts[0], starts[-1] + 1, _MINUTE)), "each once, none missing"
        assert started - _MINUTE <= starts[0] and starts[-1] + _MINUTE <= ended + 1
        seconds = [minute.seconds for minute in minutes]
        print(f"{len(minutes)} minutes with {seconds} seconds")
        assert 0 < seconds[0] <= _MINUTE and seconds[1:] == [_MINUTE] * (len(seconds) - 1)


@contextmanager
def linked_host(
    cloud: Cloud, server: Server, *, url: str = "", name: str = "host1", **keys: object
) -> Iterator[Linked]:
    """With a running agent under a running ``server``; ``url``: another way to it; ``keys`` are of the agent's configuration."""
    directory = cloud.config_path.parent / "agent"
    agent = RealAgent(directory, url=url or server.url, host=name, credential=cloud.host(name).credential, **keys)
    made = Linked(cloud, server, agent, {}, (agent.root / WEIGHT).read_text().strip())
    try:
        agent.start()
        assert wait(lambda: uuid_of(cloud, "vm1"), 60), made.log()
        wanted = {"vm1": FLOOR, "vm3": CEILING}
        generations = {}
        for instance, objectives in wanted.items():
            status, slo = server.ask("PUT", made.path(instance), cloud.admin.token, {"objectives": objectives})
            assert status == 201, slo
            generations[instance] = slo["generation"]
        made.generations = generations
        enforced = lambda one: cloud.admin.get(made.path(one)).json["state"] == "enforced"  # noqa: E731
        assert wait(lambda: all(enforced(one) for one in wanted), 60), made.log()
        made.until_holds(30)
        yield made
    finally:
        with suppress(AssertionError):
            agent.stop(signal.SIGKILL)


def uuid_of(cloud: Cloud, name: str) -> str:
    found = cloud.admin.get("/v1/instances").json["instances"]
    return next((one["uuid"] for one in found if one["name"] == name), "")


def minutes_of(cloud: Cloud, name: str = "vm1") -> list[Minute]:
    """Those of an instance's SLO, by time."""
    with cloud.database.reader() as session:
        query = select(Minute).join(Instance, Instance.id == Minute.instance_id).where(Instance.name == name)
        query = query.where(Minute.metric == "cpu", Minute.is_stretch.is_(False)).order_by(Minute.start)
        return list(session.scalars(query))


def damage(path: Path, how: str) -> None:
    """``cut``, ``garbage``, ``checksum`` or ``older``: what a file of the agent's state looks like then."""
    text = path.read_bytes()
    if how == "cut":
        path.write_bytes(text[: len(text) // 2])
    elif how == "garbage":
        path.write_bytes(bytes(byte ^ 0xA5 for byte in text) + b"\n")
    elif how == "checksum":
        path.write_bytes(text.replace(b"0.2", b"0.9").replace(b"1.0", b"9.0"))
    else:
        path.write_bytes(re.sub(rb'"version": ?\d+', b'"version":0', text))
