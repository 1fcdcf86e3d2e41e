"""Looks at the host, once: nothing is changed, nothing is decided. What cannot be found out is said in the facts, not raised."""

import configparser
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path

import stella
from stella.linux.domain_xml import Interface
from stella.xgos.checks.facts import Agent, ApiAnswer, Groups, Host, Master, NovaHost
from stella.xgos.checks.verdicts import links_of
from stella.xgos.host_files import Broken, HostFiles, Unavailable
from stella.xgos.link.transport import Endpoint, HttpTransport, NoCredential, Unreachable
from stella.xgos.link_limits import LinkLimits
from stella.xgos.local_api.client import Client, RequestRefused
from stella.xgos.local_api.client import Unreachable as NoAgent
from stella.xgos.process.config import Config
from stella.xgos.sensing.groups import find_cpuset, find_hierarchy
from stella.xgos.sensing.inspection import Inspection, inspect

NOVA_FILES = ("/etc/nova/nova.conf", "/etc/nova/nova-compute.conf")
"""Where Nova looks, each with the drop-ins in the directory ``FILE.d`` beside it."""
_LIBVIRT_SECONDS = 10.0
_DATE_SECONDS = 0.5
"""HTTP's dates are whole seconds, cut: half a second is added to each."""


def gather(config: Config, files: HostFiles, *, nova_files: Sequence[str] = ()) -> Host:
    """All facts. ``nova_files`` are configuration files of Nova, or directories of them; none: where Nova itself looks."""
    hypervisor = ask_libvirt(config.libvirt_uri)
    interfaces = () if isinstance(hypervisor, str) else hypervisor.interfaces
    endpoint = endpoint_of(config)
    return Host(
        version=stella.__version__,
        host_name=config.api_host_name or socket.gethostname(),
        groups=read_groups(files),
        hypervisor=hypervisor,
        links=links_of(interfaces, read_masters(files, interfaces)),
        has_schedstat=read_schedstat(files),
        link_limits_lack=() if files.recorded else LinkLimits().lack(),
        api=ask_api(endpoint) if endpoint else None,
        agent=ask_agent(config.socket),
        nova=read_nova(nova_files),
    )


def read_groups(files: HostFiles) -> Groups:
    """The hierarchy that the agent would use."""
    try:
        found = find_hierarchy(files)
    except Broken as error:
        return Groups(error=str(error))
    return Groups(version=found.version, mount=found.mount, cpuset_mount=find_cpuset(files))


def ask_libvirt(uri: str, *, ask: Callable[[str], Inspection] = inspect) -> Inspection | str:
    """What libvirt says, or why it says nothing. One that hangs is left hanging after 10 s."""
    answer: list[Inspection | str] = []

    def run() -> None:
        try:
            answer.append(ask(uri))
        except Unavailable as error:
            answer.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_LIBVIRT_SECONDS)
    return answer[0] if answer else f"no answer within {_LIBVIRT_SECONDS:.0f} s"


def read_masters(files: HostFiles, interfaces: Sequence[Interface]) -> dict[str, Master]:
    """What each device is a port of."""
    return {each.device: _master(files, each.device) for each in interfaces if each.device}


def _master(files: HostFiles, device: str) -> Master:
    path = f"/sys/class/net/{device}"
    try:
        if not files.exists(path):
            return Master.NO_DEVICE
        if files.exists(f"{path}/brport"):
            return Master.BRIDGE
        if not files.exists(f"{path}/master"):
            return Master.NONE
        properties = files.read(f"{path}/master/uevent").splitlines()
    except Unavailable:
        return Master.OTHER
    return Master.OPENVSWITCH if "INTERFACE=ovs-system" in properties else Master.OTHER


def read_schedstat(files: HostFiles) -> bool | None:
    """Whether run times are counted. This process has run already, so that zero means that they are not."""
    try:
        return int(files.read("/proc/self/schedstat").split()[0]) > 0
    except (Unavailable, ValueError, IndexError):
        return None


def endpoint_of(config: Config) -> Endpoint | None:
    """Where the host's API is; None when it has none."""
    if not config.api_url:
        return None
    return Endpoint(
        url=config.api_url,
        host_name=config.api_host_name or socket.gethostname(),
        credential_file=config.api_credential_file,
        ca_file=config.api_ca_file,
    )


def ask_api(endpoint: Endpoint, *, wall: Callable[[], float] = time.time) -> ApiAnswer:
    """Ask for the host's intent as the agent does, and compare clocks by the header ``Date``."""
    try:
        transport = HttpTransport(endpoint)
    except OSError as error:
        return ApiAnswer(error=f"api_ca_file: {endpoint.ca_file}: {error.strerror or error}")
    try:
        before = wall()
        answer = transport.get_intent("")
        after = wall()
    except (Unreachable, NoCredential) as error:
        return ApiAnswer(error=str(error))
    finally:
        transport.close()
    offset, uncertainty = compare_clocks(answer.date, before=before, after=after)
    return ApiAnswer(status=answer.status, offset_seconds=offset, uncertainty_seconds=uncertainty)


def compare_clocks(date: str, *, before: float, after: float) -> tuple[float | None, float]:
    """(how far this clock is ahead of the one that wrote ``date``, by how much that may be wrong), in seconds.

    ``before`` and ``after`` are this clock's times around the request.
    """
    try:
        theirs = parsedate_to_datetime(date).timestamp() + _DATE_SECONDS
    except (TypeError, ValueError):
        return None, 0.0
    return (before + after) / 2 - theirs, (after - before) / 2 + _DATE_SECONDS


def ask_agent(path: Path) -> Agent:
    """The agent that runs here."""
    try:
        status = Client(path, timeout_seconds=5.0).status()
        sensors = [str(each["name"]) for each in status["sensors"] if not each["ok"]]
        return Agent(version=str(status["version"]), mode=str(status["mode"]), failing_sensors=sensors)
    except (NoAgent, RequestRefused, KeyError, TypeError) as error:
        return Agent(error=" ".join(str(error).split()))


def read_nova(given: Sequence[str]) -> NovaHost:
    """``host`` of nova-compute, in the order in which Nova reads its files; the machine's name where none of them has it."""
    files = nova_files(given or [path for path in NOVA_FILES if Path(path).exists()])
    if not files:
        return NovaHost(error="none of these files exists: " + ", ".join(given)) if given else NovaHost()
    parser = configparser.RawConfigParser(strict=False, default_section="", allow_no_value=True)
    for path in files:
        try:
            parser.read_string(Path(path).read_text(encoding="utf-8"), path)
        except OSError as error:
            return NovaHost(error=f"{path}: {error.strerror}")
        except (configparser.Error, UnicodeDecodeError):  # whose text shows the line, which may hold a password
            return NovaHost(error=f"{path}: it is not sections of KEY = VALUE")
    name = ""
    with contextlib.suppress(configparser.Error):
        name = (parser.get("DEFAULT", "host", fallback="") or "").strip().strip("\"'")
    return NovaHost(name=name or socket.gethostname(), files=files)


def nova_files(given: Sequence[str]) -> list[str]:
    """Files, and those in directories; to a file belong those in the directory ``FILE.d`` beside it. As oslo.config orders them."""
    found: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found += sorted(path.glob("*.conf"))
        elif path.exists():
            found += [path, *sorted(Path(f"{path}.d").glob("*.conf"))]
    return [str(path) for path in found]
