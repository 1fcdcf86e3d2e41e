"""What the plugin adds to Horizon's own Instances panel."""

from types import SimpleNamespace

from openstack_auth import utils
from openstack_dashboard.dashboards.project.instances.tables import InstancesTable
from stella_dashboard.content.service_levels import instance_actions

from tests.base import TestCase
from tests.emulated_api import UUID


class RowActionsTest(TestCase):
    """Links in the rows of instances."""

    def offered(self, status: str = "ACTIVE") -> dict[str, str]:
        """Name and address of Stella's actions on a server."""
        self.request.user = utils.get_user(self.request)
        table, server = (
            InstancesTable(self.request),
            SimpleNamespace(id=UUID.format(1), status=status, tenant_id=self.tenant.id),
        )
        actions = [action for name, action in table.base_actions.items() if name.startswith("stella_")]
        return {
            action.name: action.get_link_url(server)
            for action in actions
            if table._filter_action(action, self.request, server)
        }

    def test_they_lead_to_the_forms_and_back_and_ask_nothing_of_stella(self) -> None:
        address = f"/project/service_levels/{UUID.format(1)}"
        expected = {"stella_remove_slo": f"{address}/remove/?instances", "stella_set_slo": f"{address}/set/?instances"}
        self.assertEqual(self.offered(), expected)
        self.assertEqual(self.offered("BUILD"), {})
        self.assertEqual(self.api.asked, [])

    def test_not_where_the_roles_forbid_it(self) -> None:
        self.sign_in("reader")
        self.assertEqual(self.offered(), {})

    def test_not_where_there_is_no_stella(self) -> None:
        self._setup_user()
        self.assertEqual(self.offered(), {})

    def test_they_are_added_once(self) -> None:
        before = len(InstancesTable._meta.row_actions)
        instance_actions.add()
        self.assertEqual(len(InstancesTable._meta.row_actions), before)
