"""A real API for each test, and the commands as two of its users."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_shell import Shell, connect

from tests.functional.conftest import Cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path, f"sqlite:///{tmp_path}/stella.sqlite")
    yield made
    made.database.close()


@pytest.fixture
def shell(cloud: Cloud) -> Shell:
    """As the member ann of project p1."""
    return Shell(connect(cloud.member))


@pytest.fixture
def operator(cloud: Cloud) -> Shell:
    return Shell(connect(cloud.admin))
