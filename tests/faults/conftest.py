"""What dies here: processes and databases. The cloud is that of the functional tests."""

from tests.functional.conftest import cloud, mariadb_socket

__all__ = ["cloud", "mariadb_socket"]
