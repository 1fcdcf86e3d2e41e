"""All checks of a cloud: gathers the facts and judges them, in the order in which one mends what is wrong."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from oslo_config import cfg

import stella
from stella.api.identity import InvalidTokenFile, read_tokens
from stella.checks import nova_conf, openstack, queue, verdicts
from stella.checks.facts import Host, Lease
from stella.clouds.openstack.session import OpenStack
from stella.conf import InvalidConfig
from stella.conf.cloud import OPENSTACK
from stella.db import migrations, surroundings
from stella.db.database import Database, Unreachable
from stella.engine import leader
from stella.model.check import Code, Result, failure, success, warning


def check(
    config: cfg.ConfigOpts, *, nova_files: Sequence[str] = (), clock: Callable[[], float] = time.time
) -> list[Result]:
    """Ask the database, Keystone, Nova, Placement and the message queue; ``nova_files`` as `nova_conf.read` takes them."""
    database, results = _database(config)
    results = [*results, *_authentication(config)]
    hosts: Sequence[Host] | None = None
    if database is not None:
        hosts, found = _stores(database, config, clock())
        results += found
    if config.cloud.kind != OPENSTACK:
        return [*results, success("Cloud", "Stand-alone: no OpenStack to check ([cloud] kind = standalone).")]
    return [*results, *_openstack(config, hosts, nova_files)]


def _database(config: cfg.ConfigOpts) -> tuple[Database | None, list[Result]]:
    """The database, if it can be used, and what is wrong with it otherwise."""
    name = "Database"
    try:
        database = Database(config.database.connection, connect_retries=0)
        database.ping()
        current, newest = migrations.current(database), migrations.newest(database)
    except Unreachable as error:
        return None, [failure(name, f"It cannot be reached: {error}")]
    if current == newest:
        return database, [success(name, f"It has version {current}.")]
    return None, [failure(name, f"It has version {current or 'none'}; run stella-manage db sync for {newest}.")]


def _authentication(config: cfg.ConfigOpts) -> Iterator[Result]:
    if config.auth.strategy != "token_file":
        yield verdicts.token_checker(openstack.token_checker(config))
        yield verdicts.token_cache(config[openstack.AUTHTOKEN].memcached_servers or ())
        return
    name, path = "Authentication", Path(config.auth.token_file)
    if not path.exists():
        yield warning(name, f"{path} does not exist; make it with stella-manage token create.")
        return
    try:
        yield success(name, f"{len(read_tokens(path))} tokens in {path}.")
    except InvalidTokenFile as error:
        yield failure(name, str(error))


def _stores(database: Database, config: cfg.ConfigOpts, now: float) -> tuple[Sequence[Host], list[Result]]:
    with database.reader() as session:
        rows = surroundings.enrolled(session)
        lease = surroundings.lease(session, leader.NAME)
    hosts = [
        Host(
            name=row.name,
            mode=row.mode,
            has_capacity=row.has_capacity,
            reported_at=row.reported_at,
            version=row.version,
            clock_offset_seconds=None
            if row.sent_at is None or row.reported_at is None
            else row.sent_at - row.reported_at,
        )
        for row in rows
    ]
    found = Lease(held=lease[0], renewed_at=lease[1]) if lease else None
    return hosts, [
        verdicts.engine(found, now=now, lease_seconds=config.engine.lease_seconds),
        verdicts.hosts(hosts, now=now, silent_seconds=config.link.silent_seconds),
        verdicts.agents(hosts, stella.__version__),
        verdicts.clocks(hosts, largest_seconds=config.link.largest_clock_offset_seconds),
    ]


def _openstack(config: cfg.ConfigOpts, hosts: Sequence[Host] | None, nova_files: Sequence[str]) -> Iterator[Result]:
    enrolled = None if hosts is None else [host.name for host in hosts]
    with_capacity = None if hosts is None else [host.name for host in hosts if host.has_capacity]
    try:
        cloud = OpenStack(config)
    except InvalidConfig as error:
        yield failure("Keystone", f"{error}.")
    else:
        keystone = verdicts.keystone(openstack.login(cloud.nova.session))
        yield keystone
        if keystone.code < Code.FAILURE:  # else the others would say the same again
            yield verdicts.nova(openstack.nova(cloud), enrolled)
            yield verdicts.placement(openstack.ask_placement(cloud, with_capacity))
    conf = nova_conf.read(nova_files)
    listening = queue.gather(config)
    yield verdicts.nova_filter(conf)
    yield verdicts.nova_weigher(conf)
    yield verdicts.notifications(listening, conf)
    yield verdicts.message_queue(listening)
