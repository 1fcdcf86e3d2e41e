"""portal.py PID PORT...: listens on this machine's 127.0.0.1 and forwards to the same port in the network namespace of PID.

The sockets that listen are made first; then the process enters the other namespace for good, and connects from there. So nothing is
added to the machine's own network: no link, address or rule.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000
CHUNK_BYTES = 1 << 16


def enter_network(pid: int) -> None:
    """Enter the network namespace of a process. Raises OSError."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(descriptor)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _serve(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.transport.abort()  # as a port where nothing listens
        return
    await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
    for each in (writer, there_writer):
        each.close()


async def _main(pid: int, ports: list[int]) -> None:
    listening = [socket.create_server(("127.0.0.1", port), backlog=256) for port in ports]
    enter_network(pid)
    for port, here in zip(ports, listening, strict=True):

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port) -> None:
            await _serve(port, reader, writer)

        await asyncio.start_server(serve, sock=here)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]]))
