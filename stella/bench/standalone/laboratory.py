"""The process that has the laboratory's host: idle guests, the real agent linked to stella-api, and a socket to start load with.

It runs until SIGTERM and then leaves nothing behind; when it is killed, `stella.bench.lab.sweep` cleans up.
"""

import argparse
import json
import logging
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stella.bench.lab import Backend, Guest, Lab, LabError, Workload
from stella.bench.lab.relay import Relay, listen_inside
from stella.bench.policies.stella import ApiLink, config_text
from stella.bench.standalone.load import answer, parse_request
from stella.bench.standalone.paths import LABORATORY_HOST, Paths
from stella.bench.standalone.state import write_private

LOADS = {"packets": Workload(kind="udp"), "disk": Workload(kind="disk"), "cpu": Workload(kind="cpu")}
"""What a person can start in each guest; the order is that of the guest's workloads."""
DISK_BYTES = 256 * 10**6
_BIN_SECONDS = 2.0
_AGENT_END_SECONDS = 15.0
_RESTART_SECONDS = 1.0
_EARLY_SECONDS = 15.0
_MOST_EARLY_ENDS = 3
_LOOK_SECONDS = 0.5
_BACKEND = "local"
_LOG = logging.getLogger(__name__)


def guests(names: Sequence[str]) -> tuple[Guest, ...]:
    """Idle ones of one vCPU with a NIC and a disk."""
    return tuple(
        Guest(
            name=name,
            disk=(_BACKEND, DISK_BYTES),
            workloads=tuple(LOADS.values()),
            start_idle=True,
            bin_seconds=_BIN_SECONDS,
        )
        for name in names
    )


class Agent:
    """The agent in the lab, started again when it ends, as a service manager would; ``log`` is its output."""

    def __init__(self, lab: Lab, directory: Path, link: ApiLink, log: Path) -> None:
        self._lab, self._log = lab, log
        self._config = directory / "xgos.toml"
        (directory / "state").mkdir(parents=True)
        text = config_text(
            mode="enforce", directory=directory, home=lab.home, socket=lab.home / "xgos.sock", uri=lab.uri, link=link
        )
        self._config.write_text(text, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._early_ends = 0

    def look(self) -> None:
        """Start it if it does not run. To be called in the lab's main thread. Raises `LabError` when it ends again and again."""
        if self._process is not None:
            lived = time.monotonic() - self._started
            if self._process.poll() is None or lived < _RESTART_SECONDS:
                return
            self._early_ends = self._early_ends + 1 if lived < _EARLY_SECONDS else 0
            if self._early_ends == _MOST_EARLY_ENDS:
                lines = self._log.read_text(errors="replace").strip().splitlines()
                raise LabError(f"the agent does not start: {lines[-1] if lines else 'it says nothing'}")
            _LOG.warning("the agent ended with %d; starting it again", self._process.returncode)
        argv = [sys.executable, "-m", "stella.cmd.xgos", "run", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._process = self._lab.spawn(argv, stdout=log, stderr=log)
        self._started = time.monotonic()

    def end(self) -> None:
        """End it; it restores the guests' settings then."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_AGENT_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _serve(lab: Lab, agent: Agent, listener: socket.socket) -> None:
    """Keep the agent running and start and stop loads, until interrupted."""
    while True:
        agent.look()
        if not select.select([listener], [], [], _LOOK_SECONDS)[0]:
            continue
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_LOOK_SECONDS)
            try:
                request = parse_request(connection.recv(4096), tuple(lab.guests), tuple(LOADS))
                lab.stop(request.instance)
                if request.load:
                    lab.start(request.instance, index=tuple(LOADS).index(request.load))
                connection.sendall(answer(died=lab.died(request.instance)))
            except (ValueError, LabError) as error:
                connection.sendall(answer(error=str(error)))
            except OSError as error:
                _LOG.warning("a client went away: %s", error)


def run(paths: Paths, api_url: str, credential: Path, names: Sequence[str]) -> None:
    """Until SIGTERM. Raises `LabError`."""
    lab = Lab(directory=paths.laboratory, backends=(Backend(_BACKEND),), progress=_LOG.info)
    with lab:
        lab.boot(guests(names))
        port = int(api_url.rpartition(":")[2])
        relay = Relay(listen_inside(Path("/run/netns") / lab.network_namespace, port), port)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(lab.home / "loads.sock"))
            listener.listen()
            link = ApiLink(url=api_url, host_name=LABORATORY_HOST, credential_file=credential)
            agent = Agent(lab, paths.laboratory / "agent", link, paths.logs / "xgos.log")
            write_private(paths.laboratory_note, json.dumps({"socket": str(lab.home / "loads.sock")}) + "\n")
            _LOG.info("starting the agent")
            try:
                _serve(lab, agent, listener)
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                agent.end()
                relay.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The process."""
    parser = argparse.ArgumentParser(description="The laboratory's host of a stand-alone Stella.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("api_url")
    parser.add_argument("credential", type=Path)
    parser.add_argument("guests", nargs="+")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        run(Paths(given.directory), given.api_url, given.credential, given.guests)
    except KeyboardInterrupt:
        return 0
    except (LabError, OSError) as error:
        _LOG.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
