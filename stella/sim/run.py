"""Simulated hosts in real time, linked to stella-api, in one process: what `stella-sim run` does."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stella.model.intent import Mode
from stella.sim.agent import agent
from stella.sim.host import CORES, INSTANCES, boot
from stella.sim.listed import ListedInstances
from stella.sim.population import specs
from stella.xgos import supervision
from stella.xgos.link.transport import NoCredential, read_credential
from stella.xgos.local_api.control_socket import ControlSocket
from stella.xgos.process import garbage_collection
from stella.xgos.process.assembly import MACHINE_CLOCK, connect, paths_of
from stella.xgos.process.config import Config, parse_config
from stella.xgos.process.loop import Loop

_LOG = logging.getLogger(__name__)
_SAVE_SECONDS = 10.0
_TICK_END_SECONDS = 1.0
_END_SECONDS = 3.0
"""With the tick before it below the 5 s that a supervisor waits after SIGTERM. What is left are threads that wait for the network."""


class CannotRun(Exception):
    """Something that was asked for cannot be; one line that names the option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What `stella-sim run` was asked for. ``names`` are `sim1` to `simN`, or count from ``first`` behind another ``prefix``.

    With ``listed_instances`` the instances of each host are those in the file NAME.json there (`stella.sim.listed`).
    """

    hosts: int
    api_url: str
    credentials: Path
    state: Path
    seed: int = 0
    cores: int = CORES
    instances: int = INSTANCES
    tick_milliseconds: int = 250
    prefix: str = "sim"
    first: int = 1
    listed_instances: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts' names."""
        return tuple(f"{self.prefix}{n}" for n in range(self.first, self.first + self.hosts))


def _quoted(text: object) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def config_of(fleet: Fleet, name: str) -> Config:
    """The configuration of one host's agent, read as an operator's. Raises `InvalidConfig`."""
    state = (fleet.state / name).absolute()
    credential = (fleet.credentials / name).absolute()
    lines = {
        "mode": _quoted(Mode.ENFORCE.value),
        "tick_milliseconds": fleet.tick_milliseconds,
        "state_directory": _quoted(state),
        "run_directory": _quoted(state / "run"),
        "socket": _quoted(state / "run" / "xgos.sock"),
        "metrics_listen": '""',
        "api_url": _quoted(fleet.api_url),
        "api_host_name": _quoted(name),
        "api_credential_file": _quoted(credential),
    }
    return parse_config("".join(f"{key} = {value}\n" for key, value in lines.items()))


def check_credentials(fleet: Fleet) -> None:
    """Raises `CannotRun` that names the first host without a credential."""
    for name in fleet.names:
        try:
            read_credential(fleet.credentials / name)
        except NoCredential as error:
            raise CannotRun(
                f"--credentials-dir: {error}; store there what stella-manage host enroll {name} --mode enforce printed"
            ) from None


@contextlib.contextmanager
def _host(fleet: Fleet, number: int, config: Config) -> Iterator[Loop]:
    """One host with its agent; the link is not connected yet. Raises `own_group.AlreadyRunning`, OSError."""
    name, directory = config.api_host_name, fleet.listed_instances
    follow = ListedInstances(directory / f"{name}.json").follow if directory is not None else None
    machine = boot(
        name,
        cores=fleet.cores,
        instances=() if follow else specs(name, number, fleet.instances, seed=fleet.seed),
        seed=fleet.seed,
        unix_seconds=MACHINE_CLOCK.wall(),
    )
    with agent(config, machine, MACHINE_CLOCK, follow=follow) as loop:
        yield loop


def run(fleet: Fleet, stop: threading.Event) -> None:
    """Run the hosts until ``stop``; returns within 5 s after it.

    Raises `CannotRun`, `InvalidConfig`, `own_group.AlreadyRunning` or OSError before anything runs.
    """
    check_credentials(fleet)
    configs = [config_of(fleet, name) for name in fleet.names]
    ends = [contextlib.ExitStack() for _ in configs]
    loops: list[Loop] = []
    threads: list[threading.Thread] = []
    try:
        for number, (config, end) in enumerate(zip(configs, ends, strict=True), start=1):
            if stop.is_set():
                return
            with _named(config.api_host_name):
                loops.append(end.enter_context(_host(fleet, number, config)))
        for loop, config, end in zip(loops, configs, ends, strict=True):
            with _named(config.api_host_name):
                _answer(config, loop, end)
                connect(config, loop, end)
                threads.append(supervision.start(partial(loop.run, stop), name="loop", stop=stop))
        garbage_collection.settle()
        each = f"{fleet.instances}" if fleet.listed_instances is None else "the listed"
        _LOG.info("%d hosts with %s instances each, linked to %s", fleet.hosts, each, fleet.api_url)
        while not stop.wait(_SAVE_SECONDS):
            _save(loops, configs)
    finally:
        stop.set()
        _join(threads, _TICK_END_SECONDS)
        _save(loops, configs)
        _end(ends)


def _join(threads: list[threading.Thread], seconds: float) -> None:
    """Wait until all have ended, ``seconds`` at most."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(timeout=max(0.0, deadline - time.monotonic()))


def _answer(config: Config, loop: Loop, end: contextlib.ExitStack) -> None:
    """The control socket, for `xgos status` and `stella-top`. A host goes on without one, where its path is too long for a socket."""
    try:
        end.callback(ControlSocket(config.socket, loop).close)
    except OSError as error:
        _LOG.warning("%s: %s; xgos and stella-top cannot ask this host", config.socket, error)


@contextlib.contextmanager
def _named(host_name: str) -> Iterator[None]:
    """Threads that are started inside are named after their host, so that the log tells which one speaks."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if thread not in before:
                thread.name = f"{host_name} {thread.name}"


def _save(loops: list[Loop], configs: list[Config]) -> None:
    for loop, config in zip(loops, configs, strict=False):
        loop.save(paths_of(config).costs)


def _end(ends: list[contextlib.ExitStack]) -> None:
    """Close all hosts side by side: one whose link waits for the network holds up no other."""
    closing = [threading.Thread(target=end.close, daemon=True) for end in ends]
    for thread in closing:
        thread.start()
    _join(closing, _END_SECONDS)
