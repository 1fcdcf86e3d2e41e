"""The migrations make what the tables say, and the commands that run them."""

import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from stella.cmd import stella_manage, stella_status
from stella.db import hosts, leases, migrations
from stella.db.database import Database
from stella.db.sla_models import Sla
from stella.engine import leader
from stella.model.check import Code


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "stella.conf"
    path.write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/stella.sqlite\n[auth]\ntoken_file = {tmp_path}/tokens.toml\n"
    )
    return str(path)


def manage(config: str, *arguments: str) -> int:
    return stella_manage.main(["--config-file", config, *arguments])


def test_migrations_make_the_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/stella.sqlite")
    assert migrations.current(database) == ""
    assert migrations.sync(database) == migrations.newest(database) == migrations.current(database)
    migrations.sync(database)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Sla.metadata) == []


def test_upgrade_check(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["--config-file", config, "upgrade", "check"]
    assert stella_status.main(check) == Code.FAILURE
    assert "run stella-manage db sync" in capsys.readouterr().out
    assert manage(config, "db", "version") == 0 and capsys.readouterr().out == "none\n"
    assert manage(config, "db", "sync") == 0
    assert stella_status.main(check) == Code.WARNING
    assert manage(config, "token", "create", "--user", "ann", "--project", "p1", "--roles", "member,reader") == 0
    assert stella_status.main(check) == Code.WARNING and "Engine: Warning" in capsys.readouterr().out
    database = Database(f"sqlite:///{tmp_path}/stella.sqlite")
    never = leases.Sighting(holder=None, token=0, renewal=0)
    database.write(lambda session: leases.take(session, leader.NAME, never, holder="h", now=time.time()))
    assert stella_status.main(check) == Code.SUCCESS
    assert stella_status.main(["--config-file", "/no/such.conf", "upgrade", "check"]) == Code.BROKEN


def test_a_host_is_enrolled_once_and_its_credential_is_not_kept(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manage(config, "db", "sync")
    capsys.readouterr()
    assert manage(config, "host", "enroll", "host1") == 0
    credential = capsys.readouterr().out.strip()
    database = Database(f"sqlite:///{tmp_path}/stella.sqlite")
    with database.reader() as session:
        assert hosts.authenticate(session, "host1", credential, now=0.0, changed_since=0.0) is not None
        assert hosts.authenticate(session, "host1", "", now=0.0, changed_since=0.0) is None
        assert hosts.authenticate(session, "host2", credential, now=0.0, changed_since=0.0) is None
        found = hosts.find(session, "host1")
        assert found is not None and found.mode == "observe"
    assert credential.encode() not in (tmp_path / "stella.sqlite").read_bytes()
    assert manage(config, "host", "enroll", "host1") == 1
    assert "revoke its credential first" in capsys.readouterr().err
    assert manage(config, "host", "revoke", "host1") == 0
    with database.reader() as session:
        assert hosts.authenticate(session, "host1", credential, now=0.0, changed_since=0.0) is None
    assert manage(config, "host", "revoke", "host1") == 1
    assert manage(config, "host", "enroll", "a; reboot") == 1
    assert manage(config, "host", "enroll", "host1") == 0
    assert capsys.readouterr().out.strip() != credential


def test_commands_say_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.conf"
    bad.write_text("[api]\nbind_port = ninety\n")
    for path, code in ((str(bad), 2), (str(tmp_path / "none.conf"), 2)):
        assert manage(path, "db", "sync") == code
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    unreachable = tmp_path / "unreachable.conf"
    unreachable.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/no/such.sqlite\nconnect_retries = 0\n")
    assert manage(str(unreachable), "db", "sync") == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    fresh = tmp_path / "fresh.conf"
    fresh.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/fresh.sqlite\n")
    assert manage(str(fresh), "host", "enroll", "host1") == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
