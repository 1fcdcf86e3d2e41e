"""`python -m laboratory COMMAND`: brings the laboratory up or down, looks into it, and turns its parts off and on."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from laboratory import environment, plan, power, steps
from laboratory.cloud import Cloud
from laboratory.control_plane import ControlPlane
from laboratory.enclosure import Enclosure
from laboratory.fake_hosts import LARGEST, FakeHosts
from laboratory.guest import GuestImage
from laboratory.services import Services
from laboratory.settings import LaboratoryError, Settings, load, without_choices


def _up(hosts: int | None) -> int:
    if os.geteuid():
        raise LaboratoryError("must run as root: it makes namespaces and virtual machines")
    started = time.monotonic()
    settings = load(make=True, hosts=hosts)
    assert settings is not None
    settings.logs.mkdir(parents=True, exist_ok=True)
    several = f" on {len(settings.computes)} compute hosts" if settings.host_cpus else ""
    steps.say(f"OpenStack 2026.2 with Stella{several}, below {settings.state} (1-minute load {os.getloadavg()[0]:.1f})")
    if not steps.run(plan.steps(settings)):
        steps.say(
            f"not up after {time.monotonic() - started:.0f} s; logs are in {settings.logs}. `make openstack` goes on from here"
        )
        return 1
    steps.say(f"up after {time.monotonic() - started:.0f} s (1-minute load {os.getloadavg()[0]:.1f})")
    for name, port in settings.ports.items():
        steps.say(f"  {name:<10} http://127.0.0.1:{port}")
    steps.say(
        "  . .run/member.env     a plain member; .run/openstack.env the administrator; make openstack-down removes all"
    )
    return 0


def _down() -> int:
    settings = load(make=False)
    if settings is None:
        settings = without_choices()  # its files may have been removed under it
        if not Enclosure(settings).is_mine():
            steps.say("no laboratory is here")
            return 0
    Enclosure(settings).close()
    for path in environment.paths(settings):
        path.unlink(missing_ok=True)
    shutil.rmtree(settings.state, ignore_errors=True)
    steps.say(
        "removed: processes, namespaces, control groups, database, files. The installed packages stay (.venv-openstack)"
    )
    return 0


def _there() -> Settings:
    settings = load(make=False)
    if settings is None or not Enclosure(settings).is_open():
        raise LaboratoryError("no laboratory is up: make openstack")
    return settings


def _place(name: str | None) -> Enclosure:
    """The host of that name, by default that of the control plane."""
    settings = _there()
    return Enclosure(settings, settings.host(name) if name else None)


def _status() -> int:
    settings = _there()
    for host in settings.hosts:
        place = Enclosure(settings, host)
        if host.cpus:
            steps.say(f"{host.name}, CPU {','.join(map(str, host.cpus))}{'' if place.is_open() else ': off'}")
        for name in Services(place).running():
            steps.say(f"{name:<26} {host.logs / name}.log")
    return 0


def _enter(name: str | None, command: Sequence[str]) -> int:
    argv = _place(name).inside(list(command) or [os.environ.get("SHELL", "/bin/bash")])
    os.execv(argv[0], argv)  # noqa: S606 - what the caller asked for, in place of this process


def _service(verb: str, name: str, host: str | None) -> int:
    services = Services(_place(host))
    if verb != "start":
        services.stop(name)
    if verb != "stop":
        services.start(name)
    return 0


def _host(verb: str, name: str) -> int:
    started, settings = time.monotonic(), _there()
    (power.on if verb == "on" else power.off)(settings, name)
    steps.say(f"{name} is {verb} after {time.monotonic() - started:.1f} s")
    return 0


def _fake_hosts(count: int) -> int:
    started, settings = time.monotonic(), _there()
    enclosure = Enclosure(settings)
    services = Services(enclosure)
    control = ControlPlane(settings, enclosure)
    cloud = Cloud(settings, GuestImage(settings))
    FakeHosts(settings, enclosure, services, cloud, control.discover_hosts).have(count)
    steps.say(f"done after {time.monotonic() - started:.0f} s (1-minute load {os.getloadavg()[0]:.1f})")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(
        prog="laboratory", description="A real OpenStack on this machine, with Stella in it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring it up; what is done already is not done again")
    up.add_argument(
        "--hosts", type=int, metavar="N", help="compute hosts; more than one have namespaces and CPUs of their own"
    )
    commands.add_parser("down", help="remove it")
    commands.add_parser("status", help="what runs")
    enter = commands.add_parser("enter", help="run a command in a host's namespaces")
    enter.add_argument("--host", help="one of several hosts; otherwise that of the control plane")
    enter.add_argument("argv", nargs=argparse.REMAINDER)
    service = commands.add_parser("service", help="one service")
    service.add_argument("--host", help="one of several hosts; otherwise that of the control plane")
    service.add_argument("verb", choices=["start", "stop", "restart"])
    service.add_argument("name")
    host = commands.add_parser("host", help="cut off one of several hosts at once, or start it again")
    host.add_argument("verb", choices=["on", "off"])
    host.add_argument("name")
    fake = commands.add_parser("fake-hosts", help=f"have N hosts that are not there, at most {LARGEST}; 0 removes them")
    fake.add_argument("count", type=int, metavar="N")
    given = parser.parse_args(arguments)
    try:
        match given.command:
            case "up":
                return _up(given.hosts)
            case "down":
                return _down()
            case "status":
                return _status()
            case "enter":
                return _enter(given.host, given.argv)
            case "host":
                return _host(given.verb, given.name)
            case "fake-hosts":
                return _fake_hosts(given.count)
            case _:
                return _service(given.verb, given.name, given.host)
    except LaboratoryError as error:
        print(f"laboratory: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
