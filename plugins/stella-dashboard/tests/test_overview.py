"""The overview of a project: are its service levels kept?"""

from typing import Any

from django.urls import reverse

from tests import operator_records as records
from tests.base import TestCase
from tests.emulated_api import error, instance

OVERVIEW = reverse("horizon:project:service_levels_overview:index")
PACKETS = {"network_packets": (20_000.0, 14_250.0, "VIOLATED", "cpu", 0.875, 0.99996)}


class OverviewTest(TestCase):
    """As the member of a project."""

    def fill(self, *troubled: dict[str, Any], month: dict[str, float | None] | None = None, **more: Any) -> None:
        attained = {
            "today": {"cpu": 1.0, "block_bytes": None},
            "month": month or {"cpu": 1.0, "network_packets": 0.99964},
        }
        told = {"project_id": self.tenant.id, "hosts": None, "attainment": attained, **more}
        self.api.answer("GET", "/v1/summary", 200, records.summary(**told))
        self.api.lists(*troubled)
        found = records.violation(host=None, offender=None, offender_name=None)
        self.api.answer("GET", "/v1/violations", 200, {"violations": [found], "links": []})

    def text(self) -> str:
        page = self.client.get(OVERVIEW)
        self.assertEqual(page.status_code, 200)
        return page.content.decode().replace("\xa0", " ")

    def test_three_requests_show_everything(self) -> None:
        self.fill(instance(1, objectives=PACKETS))
        text = self.text()
        self.assert_shows(
            text,
            "1 of the 14 instances with a service level does not get what it is guaranteed now.",
            "This month Network packets was kept least: in 99.96 % of the seconds in which it was asked for.",
            "web-1",
            "gets 14.2 kpps",
            "too little CPU",
            "health=troubled",
            "100 %",
        )
        paths = ["/v1/summary", "/v1/instances", "/v1/violations"]
        self.assertEqual([path for _, path, *_ in self.api.asked], paths)
        for _, _, query, _, _ in self.api.asked:
            self.assertEqual(query["project"], self.tenant.id)
        self.assertNotIn("compute-1", text)
        self.assertNotIn(self.token.id, text)

    def test_all_is_well(self) -> None:
        well = {"troubled": 0, "pending": 0, "guaranteed": 2, "best_effort": 1}
        self.fill(instances=well, month={"cpu": 1.0})
        text = self.text()
        self.assert_shows(text, "All service levels are kept now.")
        self.assert_shows(text, "they were kept in every second in which they were asked for")
        self.fill(instances={**well, "pending": 1})
        self.assertIn("Nothing is missed now; 1 service level is not in force yet.", self.text())

    def test_nothing_is_guaranteed(self) -> None:
        self.fill(instances={"troubled": 0, "pending": 0, "guaranteed": 0, "best_effort": 4})
        self.assertIn("Nothing is guaranteed to the instances of this project.", self.text())

    def test_too_many_to_add_up(self) -> None:
        self.fill(attainment=None)
        self.assertIn("too many service levels to add them up", self.text())

    def test_names_are_text(self) -> None:
        for name in ("<script>alert(1)</script>", "{$ 7*7 $}", "한국어 🚀", "x" * 255):
            self.fill(instance(1, name=name, objectives=PACKETS))
            text = self.text()
            self.assertNotIn("<script>alert", text)
            self.assertNotIn("{$ 7", text)

    def test_down_and_refused_are_sentences(self) -> None:
        self.fill()
        self.api.answer("GET", "/v1/instances", *error("stella.request.forbidden", 403, "no"))
        text = self.text()
        self.assert_shows(text, "Your roles do not allow this.")
        self.assert_shows(text, "Last violations")
        self.sign_in(endpoint="http://127.0.0.1:9")
        self.assertIn("Stella&#x27;s API does not answer.", self.text())
