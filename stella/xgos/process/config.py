"""The agent's configuration: a TOML file into one frozen value. Every wrong key is one line that names it."""

import difflib
import enum
import ipaddress
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from stella.model.intent import Mode
from stella.model.snapshot import BlockBackend
from stella.xgos.sensing.uplinks import NamedUplink

DEFAULT_PATH = Path("/etc/stella/xgos.toml")


_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?")


class InvalidConfig(ValueError):
    """The configuration cannot be; ``field`` names the key (or the file), the message is one line for a person."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class LogLevel(enum.StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class HostOverhead(enum.StrEnum):
    """What of the host's CPU its own work takes from what may be guaranteed."""

    MEASURED = "measured"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the agent is told by its operator; `etc/xgos.toml` explains each key.

    ``capacity_cpu_cores`` 0 means all cores of the host. ``reservation_margin_ratio`` multiplies every reservation.
    ``metrics_listen``, ``slo_file`` and ``api_url`` are off when empty. ``run_directory`` holds the journal, which is stored within a
    tick.
    """

    mode: Mode = Mode.OBSERVE
    tick_milliseconds: int = 250
    libvirt_uri: str = "qemu:///system"
    state_directory: Path = Path("/var/lib/xgos")
    run_directory: Path = Path("/run/xgos")
    socket: Path = Path("/run/xgos/xgos.sock")
    socket_group: str = "stella"
    metrics_listen: str = "127.0.0.1:9817"
    slo_file: str = ""
    api_url: str = ""
    api_host_name: str = ""
    api_credential_file: Path = Path("/etc/stella/xgos.credential")
    api_ca_file: str = ""
    host_reserved_cpu_cores: float = 0.1
    host_overhead: HostOverhead = HostOverhead.MEASURED
    capacity_cpu_cores: float = 0.0
    reservation_margin_ratio: float = 1.1
    network_uplink: tuple[NamedUplink, ...] = ()
    network_uplink_capacity_mbit_per_second: float = 0.0
    network_uplink_capacity_packets_per_second: float = 0.0
    block_backends: tuple[BlockBackend, ...] = ()
    log_level: LogLevel = LogLevel.INFO

    @property
    def uplinks(self) -> tuple[NamedUplink, ...]:
        """The uplinks; one without capacities of its own has those of the host's keys."""
        return tuple(
            replace(
                one,
                capacity_mbit_per_second=one.capacity_mbit_per_second or self.network_uplink_capacity_mbit_per_second,
                capacity_packets_per_second=one.capacity_packets_per_second
                or self.network_uplink_capacity_packets_per_second,
            )
            for one in self.network_uplink
        )

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the metrics server; None when it is off."""
        return parse_listen("metrics_listen", self.metrics_listen) if self.metrics_listen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one run is told on its command line. ``root`` stands before every path of the host's own trees (/proc, /sys)."""

    once: bool = False
    dry_run: bool = False
    release: bool = False
    root: Path = Path("/")


def parse_listen(field: str, text: str) -> tuple[str, int]:
    """``127.0.0.1:9817`` or ``[::1]:9817``. Raises `InvalidConfig`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 <= int(port[:6]) <= 65535:
        raise InvalidConfig(field, "must be ADDRESS:PORT, such as 127.0.0.1:9817")
    return host, int(port)


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or any(ord(c) < 32 for c in value):
        raise InvalidConfig(field, 'must be one line of text in quotes, such as "value"')
    return value


def _listen(field: str, value: object) -> str:
    text = _text(field, value)
    if text:
        parse_listen(field, text)
    return text


def _path(field: str, value: object) -> Path:
    path = Path(_text(field, value))
    if not path.is_absolute():
        raise InvalidConfig(field, "must be an absolute path, such as /var/lib/xgos")
    return path


def _optional_path(field: str, value: object) -> str:
    text = _text(field, value)
    return str(_path(field, text)) if text else ""


def _device(field: str, value: object) -> str:
    text = _text(field, value)
    if len(text) > 15 or any(c.isspace() or c in "/:" for c in text):
        raise InvalidConfig(field, "must be the name of a network device, such as eth0")
    return text


_BACKEND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_SOURCE = re.compile(r"/\S*|[a-z]+:\S+")
_CAPACITIES = ("capacity_megabytes_per_second", "capacity_operations_per_second")


def _backend(field: str, value: object) -> BlockBackend:
    if not isinstance(value, dict):
        raise InvalidConfig(field, 'must be a table with name, sources and a capacity, such as { name = "ssd", ... }')
    unknown = sorted(key for key in value if key not in ("name", "sources", *_CAPACITIES))
    if unknown:
        raise InvalidConfig(
            f"{field}.{unknown[0][:60]}", f"unknown key; the keys are name, sources, {', '.join(_CAPACITIES)}"
        )
    name, sources = value.get("name"), value.get("sources")
    if not isinstance(name, str) or not _BACKEND_NAME.fullmatch(name):
        raise InvalidConfig(f"{field}.name", "must be 1 to 32 letters, digits, dashes or underscores")
    if (
        not isinstance(sources, list)
        or not sources
        or not all(isinstance(s, str) and _SOURCE.fullmatch(s) for s in sources)
    ):
        raise InvalidConfig(
            f"{field}.sources", "must be a list of absolute paths, or of network storage such as nbd:HOST:PORT"
        )
    most = _between(0.0, 1e9)
    found = {key: most(f"{field}.{key}", value.get(key, 0.0)) for key in _CAPACITIES}
    if not any(found.values()):
        raise InvalidConfig(field, f"needs a capacity: {' or '.join(_CAPACITIES)}")
    return BlockBackend(
        name=name,
        sources=tuple(sources),
        capacity_bytes_per_second=found["capacity_megabytes_per_second"] * 1e6,
        capacity_operations_per_second=found["capacity_operations_per_second"],
    )


def _backends(field: str, value: object) -> tuple[BlockBackend, ...]:
    if not isinstance(value, list):
        raise InvalidConfig(field, "must be a list of tables, each with name, sources and a capacity")
    found = tuple(_backend(f"{field}[{n}]", each) for n, each in enumerate(value))
    names = [one.name for one in found]
    again = next((n for n, name in enumerate(names) if name in names[:n]), None)
    if again is not None:
        raise InvalidConfig(f"{field}[{again}].name", f"there is another back end {names[again]}")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _api_url(field: str, value: object) -> str:
    text = _text(field, value)
    if not text:
        return text
    wrong = InvalidConfig(field, "must be the API's address, such as https://stella.example.org:9800")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    plain = parts.scheme in ("http", "https") and " " not in text
    if not plain or not host or parts.query or parts.fragment or parts.username is not None:
        raise wrong
    if parts.scheme == "http" and not _is_loopback(host):
        raise InvalidConfig(field, "must begin with https://; http:// is for an API on this host (127.0.0.1, ::1)")
    return text


def _host_name(field: str, value: object) -> str:
    text = _text(field, value)
    if text and not _HOST_NAME.fullmatch(text):
        raise InvalidConfig(
            field, "must be the name that the host was enrolled with: letters, digits, dot, dash, underscore"
        )
    return text


def _between(low: float, high: float) -> Callable[[str, object], float]:
    def read(field: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidConfig(field, f"must be a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise InvalidConfig(field, f"must be a number from {low:g} to {high:g}")
        return float(value)

    return read


_MBIT, _PACKETS = _between(0.0, 10_000_000.0), _between(0.0, 10_000_000_000.0)


def _uplinks(field: str, value: object) -> tuple[NamedUplink, ...]:
    """A device, or a list of devices and of tables with its key ``device`` and what else is known of it. No two share a name."""
    given = value if isinstance(value, list) else [value] if value != "" else []
    found = []
    for number, one in enumerate(given):
        at = f"{field}[{number}]" if isinstance(value, list) else field
        found.append(_uplink(at, one if isinstance(one, dict) else {"device": one}))
    names = [name for one in found for name in (one.device, *one.bridges)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidConfig(field, f"{twice} is named twice; each device and bridge belongs to one uplink")
    return tuple(found)


def _uplink(at: str, keys: Mapping[str, object]) -> NamedUplink:
    readers: Mapping[str, Callable[[str, object], object]] = {
        "device": _device,
        "capacity_mbit_per_second": _MBIT,
        "capacity_packets_per_second": _PACKETS,
        "bridges": _devices,
    }
    unknown = next((key for key in keys if key not in readers), None)
    if unknown is not None:
        raise InvalidConfig(at, f"unknown key {' '.join(unknown.split())[:60]}; the keys are {', '.join(readers)}")
    if not keys.get("device"):
        raise InvalidConfig(at, 'must name a device, such as "eth0"')
    named = {key: readers[key](at if key == "device" else f"{at}.{key}", value) for key, value in keys.items()}
    return NamedUplink(**named)  # type: ignore[arg-type]  # each reader returns its field's type


def _devices(field: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(value):
        raise InvalidConfig(field, 'must be a list of bridges, such as ["br-ex"]')
    return tuple(_device(field, each) for each in value)


def _whole(low: int, high: int) -> Callable[[str, object], int]:
    def read(field: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InvalidConfig(field, f"must be a whole number from {low} to {high}")
        return value

    return read


def _one_of(kind: type[enum.StrEnum]) -> Callable[[str, object], enum.StrEnum]:
    def read(field: str, value: object) -> enum.StrEnum:
        if not isinstance(value, str) or value not in list(kind):
            raise InvalidConfig(field, f"must be one of {', '.join(kind)}")
        return kind(value)

    return read


_READERS: Mapping[str, Callable[[str, object], object]] = {
    "mode": _one_of(Mode),
    "tick_milliseconds": _whole(100, 5000),
    "libvirt_uri": _text,
    "state_directory": _path,
    "run_directory": _path,
    "socket": _path,
    "socket_group": _text,
    "metrics_listen": _listen,
    "slo_file": _optional_path,
    "api_url": _api_url,
    "api_host_name": _host_name,
    "api_credential_file": _path,
    "api_ca_file": _optional_path,
    "host_reserved_cpu_cores": _between(0.0, 1024.0),
    "host_overhead": _one_of(HostOverhead),
    "capacity_cpu_cores": _between(0.0, 4096.0),
    "reservation_margin_ratio": _between(1.0, 2.0),
    "network_uplink": _uplinks,
    "network_uplink_capacity_mbit_per_second": _MBIT,
    "network_uplink_capacity_packets_per_second": _PACKETS,
    "block_backends": _backends,
    "log_level": _one_of(LogLevel),
}
assert set(_READERS) == {f.name for f in fields(Config)}


def parse_config(text: str) -> Config:
    """Read the TOML text. Raises `InvalidConfig` that names the first wrong key."""
    try:
        keys = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig("config", f"is not TOML: {' '.join(str(error).split())}") from None
    unknown = sorted(key for key in keys if key not in _READERS)
    if unknown:
        close = difflib.get_close_matches(unknown[0], _READERS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(_READERS)}"
        raise InvalidConfig(" ".join(unknown[0].split())[:60], f"unknown key; {hint}")
    values = {key: _READERS[key](key, value) for key, value in keys.items()}
    return Config(**values)  # type: ignore[arg-type]  # each reader returns its field's type


def load_config(path: Path | None) -> Config:
    """Read the file; without ``path`` the default one, and the defaults where that does not exist. Raises `InvalidConfig`."""
    if path is None and not DEFAULT_PATH.exists():
        return Config()
    path = path or DEFAULT_PATH
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidConfig("config", f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidConfig("config", f"{path}: is not UTF-8") from None
    return parse_config(text)
