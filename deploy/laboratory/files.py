"""Configuration files in oslo.config's format: written only when they differ, and private, since they hold passwords."""

from collections.abc import Mapping
from pathlib import Path

from laboratory.settings import REGION, Settings, write_private

Sections = Mapping[str, Mapping[str, object]]


def write(path: Path, text: str) -> Path:
    """Write it if it differs; the path."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_private(path, text)
    return path


def ini(sections: Sections) -> str:
    """The text of sections of options."""
    lines: list[str] = []
    for name, options in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in options.items()), ""]
    return "\n".join(lines)


def write_ini(path: Path, sections: Sections) -> Path:
    """Write sections; the path."""
    return write(path, ini(sections))


def client(settings: Settings, service: str) -> dict[str, object]:
    """How one service proves to another who it is (keystoneauth)."""
    return {
        "auth_type": "password",
        "auth_url": settings.keystone,
        "username": service,
        "password": settings.passwords[service],
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": REGION,
    }


def token_checks(settings: Settings, service: str) -> dict[str, Mapping[str, object]]:
    """How a service checks its callers' tokens (keystonemiddleware), and the scopes it insists on."""
    return {
        "keystone_authtoken": {
            **client(settings, service),
            "www_authenticate_uri": settings.keystone,
            "memcached_servers": "127.0.0.1:11211",
            "service_token_roles": "service",
            "service_token_roles_required": "true",
        },
        "oslo_policy": {"enforce_scope": "true", "enforce_new_defaults": "true"},
    }
