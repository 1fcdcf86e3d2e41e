"""openstacksdk: `resources` declares what the API has, `proxy` is the service; `connect` adds it to a connection."""

from openstack.connection import Connection

from stellaclient import SERVICE_TYPE
from stellaclient.sdk.proxy import Proxy


def connect(connection: Connection, *, interface: str | None = None, region_name: str | None = None) -> Proxy:
    """Stella as this connection's user, at the endpoint of its authentication or of its service catalogue."""
    found = Proxy(session=connection.session, service_type=SERVICE_TYPE, interface=interface, region_name=region_name)
    found._connection = connection
    return found
