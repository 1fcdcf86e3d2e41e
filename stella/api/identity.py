"""Who asks: a user by a token from a file of hashes, or by Keystone; a host by its own credential (`stella.db.hosts`)."""

import hashlib
import logging
import re
import secrets
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

HOST_USER = "host:"
"""With what the user id of a host begins; its name follows."""
_LOG = logging.getLogger(__name__)
_IMPLIED = {"admin": ("member", "reader"), "member": ("reader",)}
ROLES = ("admin", "member", "reader", "service")
_NAME = re.compile(r"^[A-Za-z0-9_.@:-]{1,64}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user who proved who they are, or a host (then ``host`` is its name and there are no roles)."""

    user_id: str
    project_id: str | None = None
    roles: tuple[str, ...] = ()
    system_scope: str | None = None
    host: str | None = None

    def credentials(self) -> dict[str, Any]:
        """What access policies are checked with."""
        return {
            "user_id": self.user_id,
            "project_id": self.project_id,
            "roles": list(self.roles),
            "system_scope": self.system_scope,
        }


class Users(Protocol):
    """How users prove who they are."""

    def identify(self, environ: Mapping[str, Any]) -> Identity | None:
        """The user of this WSGI request; None when the request is not authenticated."""


def with_implied(roles: tuple[str, ...]) -> tuple[str, ...]:
    """The roles and those that they imply, as Keystone has them: an admin is a member, a member is a reader."""
    return tuple(dict.fromkeys([*roles, *(i for role in roles for i in _IMPLIED.get(role, ()))]))


class Keystone:
    """Users as keystonemiddleware left them in the request: its headers cannot come from outside, since it strips those."""

    def identify(self, environ: Mapping[str, Any]) -> Identity | None:
        """The user whose token Keystone confirmed."""
        if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed" or not environ.get("HTTP_X_USER_ID"):
            return None
        roles = tuple(r.strip().lower() for r in str(environ.get("HTTP_X_ROLES", "")).split(",") if r.strip())
        return Identity(
            user_id=str(environ["HTTP_X_USER_ID"]),
            project_id=environ.get("HTTP_X_PROJECT_ID"),
            roles=roles,
            system_scope=environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE"),
        )


def token_digest(token: str) -> str:
    """What is stored of a token. It is 256 random bits, so one round of SHA-256 keeps it."""
    return hashlib.sha256(token.encode()).hexdigest()


class InvalidTokenFile(Exception):
    """The token file cannot be used; the message names the file and the entry."""


def read_tokens(path: Path) -> dict[str, Identity]:
    """Identities by token hash. Raises `InvalidTokenFile`."""
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidTokenFile(f"{path}: {error}") from None
    identities: dict[str, Identity] = {}
    for number, entry in enumerate(found.get("tokens", []), start=1):
        try:
            roles = tuple(str(role) for role in entry["roles"])
            identity = Identity(
                user_id=str(entry["user_id"]), project_id=str(entry["project_id"]), roles=with_implied(roles)
            )
            digest = str(entry["sha256"])
        except (KeyError, TypeError) as error:
            raise InvalidTokenFile(f"{path}: entry {number} of tokens has no {error}") from None
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise InvalidTokenFile(f"{path}: sha256 of entry {number} must be 64 hexadecimal digits")
        if unknown := sorted(set(roles) - set(ROLES)):
            raise InvalidTokenFile(
                f"{path}: entry {number} has the role {unknown[0]!r}, which is none of {', '.join(ROLES)}"
            )
        identities[digest] = identity
    return identities


class TokenFile:
    """Users by the token in ``X-Auth-Token``. The file is read again when it changes; one that is broken leaves the last good one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version: tuple[int, int, int] | None = None
        self._tokens: dict[str, Identity] = {}

    def identify(self, environ: Mapping[str, Any]) -> Identity | None:
        """The user whose token this is."""
        token = environ.get("HTTP_X_AUTH_TOKEN")
        return self._current().get(token_digest(str(token))) if token else None

    def _current(self) -> dict[str, Identity]:
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            return {}
        with self._lock:
            if version != self._version:
                self._version = version
                try:
                    self._tokens = read_tokens(self._path)
                except InvalidTokenFile as error:
                    _LOG.error("token file not read, the last good one stays: %s", error)
            return self._tokens


def new_token(path: Path, *, user_id: str, project_id: str, roles: tuple[str, ...]) -> str:
    """Add a token to the file, which is made if need be; the token is returned and kept only as a hash.

    Raises `InvalidTokenFile` for an existing file that is broken, ValueError for a name that cannot be.
    """
    for name in (user_id, project_id):
        if not _NAME.match(name):
            raise ValueError(f"{name[:64]!r} must be 1 to 64 letters, digits or _.@:-")
    if unknown := sorted(set(roles) - set(ROLES)):
        raise ValueError(f"role {unknown[0]!r} must be one of {', '.join(ROLES)}")
    if path.exists():
        read_tokens(path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o640)
    token = secrets.token_urlsafe(32)
    listed = ", ".join(f'"{role}"' for role in roles)
    entry = (
        f'[[tokens]]\nuser_id = "{user_id}"\nproject_id = "{project_id}"\n'
        f'roles = [{listed}]\nsha256 = "{token_digest(token)}"\n\n'
    )
    with path.open("a") as file:
        file.write(entry)
    return token
