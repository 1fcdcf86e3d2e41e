"""Logging in to an OpenStack: keystoneauth's own options, in ``[openstack]``."""

from typing import Any

from keystoneauth1 import exceptions, loading
from keystoneauth1.adapter import Adapter
from oslo_config import cfg

from stella.clouds.port import Unanswered
from stella.conf import InvalidConfig

GROUP = "openstack"
NOVA_MICROVERSION = "2.69"
"""The first in which a cell that is down makes an instance's answer incomplete, and not an error."""

PLACEMENT_MICROVERSION = "1.38"
"""The first in which a consumer has a type: how Stella knows its own."""

_ANSWER_SECONDS = 10
_OF_ADAPTERS = ("valid_interfaces", "region_name")


class Refused(Unanswered):
    """This one request was not answered with success; another may be."""


class OpenStack:
    """Adapters with one session. Nothing is asked before they are used."""

    def __init__(self, config: cfg.ConfigOpts) -> None:
        """Read ``[cloud]`` and ``[openstack]``. Raises `stella.conf.InvalidConfig`."""
        loading.register_auth_conf_options(config, GROUP)
        loading.register_session_conf_options(config, GROUP)
        options = loading.get_adapter_conf_options(include_deprecated=False)
        config.register_opts([one for one in options if one.dest in _OF_ADAPTERS], group=GROUP)
        config.set_default("timeout", _ANSWER_SECONDS, group=GROUP)
        try:
            auth = loading.load_auth_from_conf_options(config, GROUP)
            if auth is None:
                raise InvalidConfig(f"[{GROUP}] auth_type is not set; it needs the way to log in, such as password")
            session = loading.load_session_from_conf_options(config, GROUP, auth=auth)
            common: dict[str, Any] = {
                "session": session,
                "interface": config[GROUP].valid_interfaces or ["internal", "public"],
                "region_name": config[GROUP].region_name,
            }
        except (exceptions.ClientException, cfg.Error, ValueError) as error:
            raise InvalidConfig(f"[{GROUP}] {' '.join(str(error).split())}") from None
        self.nova = Adapter(
            service_type="compute",
            default_microversion=NOVA_MICROVERSION,
            endpoint_override=config.cloud.nova_endpoint,
            **common,
        )
        self.placement = Adapter(
            service_type="placement",
            default_microversion=PLACEMENT_MICROVERSION,
            endpoint_override=config.cloud.placement_endpoint,
            **common,
        )
        self.network = Adapter(service_type="network", endpoint_override=config.cloud.neutron_endpoint, **common)
        self.volume = Adapter(service_type="block-storage", endpoint_override=config.cloud.cinder_endpoint, **common)


def is_offered(adapter: Adapter) -> bool:
    """Whether the cloud has this service at all, as its catalogue says. Raises `Unanswered`."""
    try:
        return bool(adapter.get_endpoint())
    except exceptions.EndpointNotFound:
        return False
    except exceptions.ClientException as error:
        raise Unanswered(f"{adapter.service_type}: {' '.join(str(error).split())[:300]}") from None


def ask(adapter: Adapter, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and decoded body of one request.

    Raises `Refused` for 401, 403, 429, 5xx and what is not JSON, `Unanswered` where nothing answers.
    """
    more = {} if body is None else {"json": body}
    try:
        answer = adapter.request(path, method, raise_exc=False, **more)
        if answer.status_code >= 500 or answer.status_code in (401, 403, 429):
            raise Refused(f"{adapter.service_type}: {method} {path}: HTTP {answer.status_code}")
        return answer.status_code, answer.json() if answer.content else None
    except exceptions.ClientException as error:
        raise Unanswered(f"{adapter.service_type}: {' '.join(str(error).split())[:300]}") from None
    except ValueError:
        raise Refused(f"{adapter.service_type}: {method} {path}: the answer is not JSON") from None
