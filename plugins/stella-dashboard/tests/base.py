"""What the tests share: a signed-in user whose catalogue has the emulated API."""

from typing import Any

from django.utils import translation
from openstack_dashboard.test import helpers
from stella_dashboard.api import transport
from urllib3.connection import HTTPConnection

from tests.emulated_api import EmulatedApi


class TestCase(helpers.TestCase):
    """As the member of a project; ``api`` is Stella's."""

    def setUp(self) -> None:
        self.api = EmulatedApi()
        self.api.start()
        self.addCleanup(self.api.stop)
        super().setUp()
        self.addCleanup(translation.activate, "en")  # a page in another language leaves that behind
        self._let_through("127.0.0.1")
        transport.forget_failures()
        self.sign_in()

    def _let_through(self, host: str) -> None:
        """Horizon's test case refuses every connection; those to this host are meant."""
        real, refuse = self._real_conn_request, HTTPConnection.connect

        def connect(connection: HTTPConnection) -> None:
            (real if connection.host == host else lambda _: refuse())(connection)

        HTTPConnection.connect = connect

    def sign_in(self, *roles: str, endpoint: str | None = None) -> None:
        """As a user with these roles (by default a member)."""
        url = endpoint or self.api.url
        interfaces = [
            {"region": "RegionOne", "region_id": "RegionOne", "interface": name, "url": url}
            for name in ("public", "internal", "admin")
        ]
        catalogue: list[Any] = [*self.service_catalog, {"type": "stella", "name": "stella", "endpoints": interfaces}]
        names = roles or ("member", "reader")
        self._setup_user(service_catalog=catalogue, roles=[{"id": name, "name": name} for name in names])

    def assert_shows(self, text: str, *shown: str) -> None:
        """Each of these is in the page; only what is not is told."""
        self.assertEqual([one for one in shown if one not in text], [])
