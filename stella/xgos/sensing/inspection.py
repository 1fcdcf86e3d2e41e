"""libvirt as `xgos check` looks at it once: versions, and how instances' links are plugged. May block as long as libvirtd likes."""

import contextlib
from dataclasses import dataclass

from stella.linux import cgroup, domain_xml
from stella.xgos.host_files import Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """``libvirt`` and ``qemu`` are versions as libvirt counts them: 9 000 000 is 9.0.0. ``domains`` run, ``of_nova`` are Nova's."""

    libvirt: int
    qemu: int
    domains: int
    of_nova: int
    interfaces: tuple[domain_xml.Interface, ...]


def inspect(uri: str) -> Inspection:
    """Ask libvirt over ``uri``. Raises `Unavailable`."""
    try:
        import libvirt  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(f"{error}; install the distribution's python3-libvirt") from None
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.open(uri)
        try:
            texts = []
            for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                with contextlib.suppress(libvirt.libvirtError):  # it ends now
                    texts.append(domain.XMLDesc(0))
            versions = int(connection.getLibVersion()), int(connection.getVersion())
        finally:
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()
        parsed = [domain_xml.parse_domain(text) for text in texts]
        interfaces = [each for text in texts for each in domain_xml.parse_interfaces(text)]
    except (libvirt.libvirtError, cgroup.InvalidText) as error:
        raise Unavailable(" ".join(str(error).split())) from None
    return Inspection(
        libvirt=versions[0],
        qemu=versions[1],
        domains=len(texts),
        of_nova=sum(1 for each in parsed if each.project),
        interfaces=tuple(interfaces),
    )
