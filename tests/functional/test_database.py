"""The tables on both databases, and a database that goes away."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from stella.db.models import Table
from tests.functional import mariadb
from tests.functional.conftest import BOTH_DATABASES, Cloud, error, uuid


@BOTH_DATABASES
def test_the_migrations_make_what_the_tables_say(cloud: Cloud) -> None:
    with cloud.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Table.metadata) == []


def test_a_database_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with mariadb.server(tmp_path) as server:
        cloud = Cloud(tmp_path, mariadb.fresh_database(server.socket))
        host, path = cloud.host("host1"), f"/v1/instances/{uuid(1)}/slo"
        host.add(uuid(1))
        host.report()
        assert cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.1}}).status_code == 201
        server.stop()
        away = (
            cloud.member.get(path),
            cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.2}}, generation=1),
            cloud.client.simulate_get("/healthcheck"),
            host.report(),
            host.intent(),
        )
        for answer in away:
            assert error(answer, 503)["code"] == "stella.server.database_unreachable"
        server.start()
        assert cloud.client.simulate_get("/healthcheck").status_code == 200
        shown = cloud.member.get(path).json
        assert (shown["generation"], shown["objectives"]) == (1, {"cpu": {"floor": 0.1}})
        assert host.acknowledge().status_code == 200
        assert cloud.member.put_slo(uuid(1), {"cpu": {"floor": 0.2}}, generation=1).status_code == 200
        cloud.database.close()
