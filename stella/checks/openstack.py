"""Asks Keystone, Nova and Placement, as Stella's services do. What fails is said in the facts, not raised; no secret is in them."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from keystoneauth1 import exceptions, loading
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.session import Session
from keystonemiddleware import opts
from oslo_config import cfg

from stella.checks.facts import Login, Nova, Placement
from stella.clouds.openstack import placement
from stella.clouds.openstack.nova import compute_nodes
from stella.clouds.openstack.placement import Root
from stella.clouds.openstack.session import OpenStack, Refused, ask
from stella.clouds.port import Unanswered

AUTHTOKEN = "keystone_authtoken"
_ANSWER_SECONDS = 10
_LONGEST = 200
_VERSION = re.compile(r"(\d+)\.(\d+)")


def one_line(error: object) -> str:
    """An error's text for a person."""
    return " ".join(str(error).split())[:_LONGEST]


def login(session: Session) -> Login:
    """Log in with a session's own user."""
    plugin = session.auth
    if not isinstance(plugin, BaseIdentityPlugin):
        return Login(error="its auth_type does not log in; use password or v3applicationcredential")
    try:
        access = plugin.get_access(session)
    except exceptions.ClientException as error:
        return Login(error=one_line(error))
    catalog = (access.service_catalog.catalog if access.has_service_catalog() else None) or []
    return Login(
        user=access.username or "",
        roles=frozenset(str(role).lower() for role in access.role_names or ()),
        services=frozenset(str(entry.get("type")) for entry in catalog),
    )


def token_checker(config: cfg.ConfigOpts) -> Login:
    """Log in as stella-api does to check tokens: ``[keystone_authtoken]``."""
    for group, options in opts.list_auth_token_opts():
        config.register_opts(options, group=group)
    loading.register_auth_conf_options(config, AUTHTOKEN)
    try:
        auth = loading.load_auth_from_conf_options(config, AUTHTOKEN)
        if auth is None:
            return Login(error="auth_type is not set")
        own = config[AUTHTOKEN]
        verify = False if own.insecure else own.cafile or True
        return login(Session(auth=auth, verify=verify, timeout=_ANSWER_SECONDS))
    except (exceptions.ClientException, cfg.Error, ValueError) as error:
        return Login(error=one_line(error))


def _get(adapter: Adapter, path: str) -> Any:
    status, body = ask(adapter, "GET", path)
    if status != 200:
        raise Refused(f"{adapter.service_type}: GET {path}: HTTP {status}")
    return body


def _largest_version(text: object) -> tuple[int, int]:
    found = _VERSION.fullmatch(str(text))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def nova(openstack: OpenStack) -> Nova:
    """Nova's newest microversion, and where a nova-compute is."""
    try:
        version = _get(openstack.nova, "/").get("version", {}).get("version")
        _get(openstack.nova, "/servers?all_tenants=1&limit=1")
        services = _get(openstack.nova, "/os-services?binary=nova-compute")["services"]
        hosts = {str(each["host"]): each["state"] == "up" for each in services}
    except (Unanswered, KeyError, TypeError, AttributeError) as error:
        return Nova(error=one_line(error))
    return Nova(version=_largest_version(version), hosts=hosts)


def ask_placement(openstack: OpenStack, hosts: Sequence[str] | None) -> Placement:
    """Placement's newest microversion, and of each host what is in Stella's provider; None: they are not known."""
    adapter = openstack.placement
    try:
        version = _get(adapter, "/")["versions"][0]["max_version"]
        providers = placement.list_providers(adapter)
        if hosts is None:
            return Placement(version=_largest_version(version))
        roots = _roots(openstack, providers.roots, hosts)
        classes = {
            host: _classes(adapter, root) if root and root.child_uuid in providers.generations else None
            for host, root in roots.items()
        }
    except (Unanswered, KeyError, TypeError, LookupError) as error:
        return Placement(error=one_line(error))
    return Placement(
        version=_largest_version(version),
        classes=classes,
        without_root=frozenset(host for host, root in roots.items() if root is None),
    )


def _roots(openstack: OpenStack, roots: Sequence[Root], hosts: Sequence[str]) -> Mapping[str, Root | None]:
    """The provider of each host's compute node: the one of its name or, where there is none, the one that Nova names."""
    by_name = {root.name: root for root in roots}
    by_uuid = {root.uuid: root for root in roots}
    uuids = compute_nodes(openstack.nova) if any(host not in by_name for host in hosts) else {}
    return {host: by_name.get(host) or by_uuid.get(uuids.get(host, "")) for host in hosts}


def _classes(adapter: Adapter, root: Root) -> Collection[str] | None:
    """The classes of which Stella's child of ``root`` has any; None where it is gone."""
    status, body = ask(adapter, "GET", f"/resource_providers/{root.child_uuid}/inventories")
    if status == 404:
        return None
    if status != 200:
        raise Refused(f"placement: GET inventories of {root.child_name}: HTTP {status}")
    return frozenset(body["inventories"])
