"""One HTTP exchange with stella-api, in the standard library alone: deadlines, limits, TLS, no redirects, no proxy.

The host's credential is read from its file for each request, so that a new one is used at once. It is never logged.
"""

import contextlib
import http.client
import os
import ssl
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
_SILENCE_SECONDS = 5.0
_ANSWER_SECONDS = 20.0
_CHUNK_BYTES = 65536
_LARGEST_CREDENTIAL_BYTES = 4096


class Unreachable(Exception):
    """No answer, or none that can be used: away, too slow, too large, or its certificate is not trusted. One line for a person."""


class NoCredential(Exception):
    """The credential cannot be read, or others could read it. One line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server answered; ``etag`` and ``date`` (of its clock, as HTTP writes it) are empty where it sent none."""

    status: int
    body: bytes = b""
    etag: str = ""
    date: str = ""


class Transport(Protocol):
    """Exchanges of one thread with stella-api."""

    def get_intent(self, etag: str) -> Answer:
        """Ask for the host's intent; ``etag`` is that of the last answer or empty. Raises `Unreachable`, `NoCredential`."""

    def post_report(self, body: bytes) -> Answer:
        """Hand in a report. Raises `Unreachable`, `NoCredential`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the API is, and as which host it is asked. ``ca_file`` empty: the system's authorities."""

    url: str
    host_name: str
    credential_file: Path
    ca_file: str = ""


def read_credential(path: Path) -> str:
    """The credential. Raises `NoCredential` where it cannot be read, or users other than the owner and the group can read it."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
                raise NoCredential(f"{path}: other users may read or change it; set its mode to 0600")
            text = file.read(_LARGEST_CREDENTIAL_BYTES).decode("ascii").strip()
    except OSError as error:
        raise NoCredential(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not text or any(not "!" <= character <= "~" for character in text):
        raise NoCredential(f"{path}: is not one line with the credential that stella-manage host enroll printed")
    return text


class HttpTransport:
    """Keeps one connection open. For one thread alone. Raises OSError at construction when ``ca_file`` cannot be used."""

    def __init__(self, endpoint: Endpoint) -> None:
        parts = urlsplit(endpoint.url)
        self._endpoint = endpoint
        self._path = f"{parts.path.rstrip('/')}/v1/hosts/{quote(endpoint.host_name, safe='')}"
        self._address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        self._tls = ssl.create_default_context(cafile=endpoint.ca_file or None) if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None

    def get_intent(self, etag: str) -> Answer:
        """See `Transport.get_intent`."""
        return self._ask("GET", "intent", None, {"If-None-Match": etag} if etag else {})

    def post_report(self, body: bytes) -> Answer:
        """See `Transport.post_report`."""
        return self._ask("POST", "reports", body, {"Content-Type": "application/json"})

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _ask(self, method: str, what: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        credential = read_credential(self._endpoint.credential_file)
        sent = {"Authorization": f"Bearer {credential}", "Accept": "application/json", **headers}
        kept = self._connection is not None
        try:
            try:
                return self._exchange(method, what, body, sent)
            except (ConnectionError, http.client.BadStatusLine):
                self.close()
                if not kept:
                    raise
                return self._exchange(method, what, body, sent)  # the server had closed the idle connection
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            self.close()
            raise Unreachable(_describe(error)) from None

    def _exchange(self, method: str, what: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        if self._connection is None:
            self._connection = self._open()
        self._connection.request(method, f"{self._path}/{what}", body, dict(headers))
        answer = self._connection.getresponse()
        found = Answer(
            status=answer.status,
            body=_read(answer),
            etag=answer.getheader("ETag") or "",
            date=answer.getheader("Date") or "",
        )
        if answer.will_close:
            self.close()
        return found

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._address
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=_SILENCE_SECONDS)
        return http.client.HTTPSConnection(host, port, timeout=_SILENCE_SECONDS, context=self._tls)


def _read(answer: http.client.HTTPResponse) -> bytes:
    """The whole body, in time and within the limit. Raises OSError."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    parts: list[bytes] = []
    size = 0
    while chunk := answer.read1(_CHUNK_BYTES):
        parts.append(chunk)
        size += len(chunk)
        if size > LARGEST_ANSWER_BYTES:
            raise OSError(f"the answer has more than {LARGEST_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the answer took more than {_ANSWER_SECONDS:g} s")
    answer.read()  # nothing is left; raises where the body was cut, and frees the connection for the next request
    return b"".join(parts)


def _describe(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].removesuffix(": ")
