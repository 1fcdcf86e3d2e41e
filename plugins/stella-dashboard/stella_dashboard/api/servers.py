"""What Nova is asked for."""

import logging

from django.http import HttpRequest
from openstack_dashboard.api import nova

LOG = logging.getLogger(__name__)


def move(request: HttpRequest, uuid: str, host: str) -> bool:
    """Ask Nova for a live migration to ``host``, which its scheduler checks; False where it refuses. It takes a while afterwards."""
    try:
        nova.server_live_migrate(request, uuid, host, block_migration="auto", disk_over_commit=False)
    except Exception:  # novaclient's, keystoneauth's and Horizon's own
        # not shown: Nova's sentence may name what the user must not know
        LOG.warning("Nova does not move server %s", uuid, exc_info=True)
        return False
    return True
