"""HTTP/1.1 on kept-alive connections with as little CPU as possible, so that the generator is not what is measured.

One request at a time on a connection. Only what gunicorn sends is understood: a Content-Length, or no body.
"""

import asyncio
from dataclasses import dataclass

TIMEOUT_SECONDS = 20.0
_NO_BODY = (204, 304)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; ``etag`` is empty where none was sent."""

    status: int
    body: bytes
    etag: str


class NoAnswer(Exception):
    """The connection was refused, cut or silent for too long; the message is one word or two."""


class _Exchange(asyncio.Protocol):
    """The bytes of one connection, parsed as they come."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[Answer] | None = None
        self.closing = False
        self._buffer = bytearray()
        self._head: tuple[int, str, int] | None = None  # status, ETag, where the body ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._fail("connection closed")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = self._read_head(end)
        status, etag, body_end = self._head
        if len(self._buffer) < body_end or self.waiting is None:
            return
        body_start = self._buffer.find(b"\r\n\r\n") + 4
        answer = Answer(status=status, body=bytes(self._buffer[body_start:body_end]), etag=etag)
        del self._buffer[:body_end]
        self._head = None
        waiting, self.waiting = self.waiting, None
        if not waiting.done():
            waiting.set_result(answer)

    def _read_head(self, end: int) -> tuple[int, str, int]:
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        status, etag, length = int(first.split(" ", 2)[1]), "", 0
        for line in lines:
            name, _, value = line.partition(":")
            match name.lower():
                case "content-length":
                    length = int(value)
                case "etag":
                    etag = value.strip()
                case "connection" if value.strip().lower() == "close":
                    self.closing = True
                case "transfer-encoding":
                    self._fail("chunked answer")
        return status, etag, end + 4 + (0 if status in _NO_BODY else length)

    def _fail(self, why: str) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(NoAnswer(why))


class Connection:
    """A connection to 127.0.0.1, opened when it is needed and again when the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._exchange: _Exchange | None = None
        self.opened = 0

    async def ask(self, method: str, path: str, headers: str = "", body: bytes = b"") -> Answer:
        """Send one request; ``headers`` are whole lines, each with its end. Raises `NoAnswer`."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._exchange is None or self._exchange.closing:
                    await self._open()
                return await self._send(method, path, headers, body)
        except TimeoutError:
            self.close()
            raise NoAnswer("timed out") from None
        except OSError as error:
            self.close()
            raise NoAnswer(error.strerror or type(error).__name__) from None

    async def _open(self) -> None:
        self.close()
        loop = asyncio.get_running_loop()
        _, self._exchange = await loop.create_connection(_Exchange, "127.0.0.1", self._port)
        self.opened += 1

    async def _send(self, method: str, path: str, headers: str, body: bytes) -> Answer:
        exchange = self._exchange
        assert exchange is not None and exchange.transport is not None and exchange.waiting is None
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{headers}{length}\r\n"
        exchange.waiting = asyncio.get_running_loop().create_future()
        exchange.transport.write(head.encode("latin-1") + body)
        return await exchange.waiting

    def close(self) -> None:
        """Close it; the next request opens another."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.transport is not None:
            exchange.transport.close()
