"""The files that a person sources: the administrator's and two members' credentials, and where Horizon is."""

import shlex
from pathlib import Path

from laboratory import cloud
from laboratory.settings import REGION, REPOSITORY, Settings, write_private


def _openrc(settings: Settings, user: str, project: str) -> dict[str, str]:
    return {
        "OS_AUTH_URL": settings.keystone,
        "OS_USERNAME": user,
        "OS_PASSWORD": settings.passwords[user],
        "OS_PROJECT_NAME": project,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_REGION_NAME": REGION,
        "OS_COMPUTE_API_VERSION": "2.96",
    }


def _write(path: Path, values: dict[str, str]) -> None:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    lines.append(f'export PATH={shlex.quote(str(REPOSITORY / ".venv" / "bin"))}:"$PATH"')
    lines.append("unset OS_AUTH_TYPE OS_ENDPOINT OS_TOKEN OS_CLOUD")
    write_private(path, "\n".join(lines) + "\n")


def paths(settings: Settings) -> tuple[Path, ...]:
    """The files."""
    return tuple(settings.run / name for name in ("openstack.env", "member.env", "other.env"))


def write(settings: Settings) -> None:
    """Write all; each is readable by its owner alone."""
    admin, member, other = paths(settings)
    extra = {
        "OS_PLACEMENT_API_VERSION": "1.39",
        "HORIZON_URL": settings.url("horizon"),
        "HORIZON_USER": cloud.MEMBER,
        "HORIZON_PASSWORD": settings.passwords[cloud.MEMBER],
        "STELLA_OPENSTACK_SOCKETS": str(settings.controller.run),
        "STELLA_OPENSTACK_LIBVIRT": settings.computes[0].libvirt_uri,
        "XGOS_SOCKET": str(settings.computes[0].agent_socket),
        # Of each of several hosts.
        **{f"XGOS_SOCKET_{host.name.upper()}": str(host.agent_socket) for host in settings.hosts if host.cpus},
    }
    _write(admin, {**_openrc(settings, "admin", "admin"), **extra})
    _write(member, _openrc(settings, cloud.MEMBER, cloud.PROJECT))
    _write(other, _openrc(settings, cloud.OTHER, cloud.OTHER_PROJECT))
