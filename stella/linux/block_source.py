"""Which shared back end a disk lies on, from what libvirt tells of its source.

An operator names sources: a directory or a device (``/var/lib/nova/instances``, ``/dev/vg0``) or network storage (``nbd:HOST:PORT``,
``nbd:/run/socket``, ``rbd:POOL``). A disk lies on a back end when one of its sources is a named one or lies below it; the longest
name decides.
"""

from collections.abc import Iterable, Sequence

from stella.model.snapshot import BlockBackend


def backend_of(sources: Iterable[str], backends: Sequence[BlockBackend]) -> str:
    """The name of the back end; empty where none is named for it."""
    best, found = -1, ""
    for backend in backends:
        for name in backend.sources:
            top = name.rstrip("/")
            if len(name) > best and any(s in (name, top) or s.startswith(f"{top}/") for s in sources):
                best, found = len(name), backend.name
    return found
