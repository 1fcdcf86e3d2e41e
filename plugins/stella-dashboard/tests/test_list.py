"""The list: what it asks, what it shows."""

import time

from django.urls import reverse
from stella_dashboard.api import transport
from stella_dashboard.api.problems import Unreachable

from tests.base import TestCase
from tests.emulated_api import UUID, error, instance

INDEX = reverse("horizon:project:service_levels:index")
LIVE = reverse("horizon:project:service_levels:live")
PACKETS = {"network_packets": (20_000.0, 14_250.0, "VIOLATED", "cpu", 0.875, 0.99996)}


class ListTest(TestCase):
    """The panel's first page."""

    def test_one_request_shows_everything(self) -> None:
        self.api.lists(instance(1, objectives=PACKETS), instance(2), instance(3, state="shutoff"))
        page = self.client.get(INDEX)
        self.assertEqual(page.status_code, 200)
        text = page.content.decode().replace("\xa0", " ")
        for shown in (
            "web-1",
            "Network packets",
            "at least 20 kpps",
            "14.2 kpps",
            "Violated",
            "too little CPU",
            "87.50 %",
            "99.99 %",
        ):
            self.assertIn(shown, text)
        self.assertIn("Best effort: nothing is guaranteed.", text)
        self.assertIn("shut off", text)
        ((method, path, query, _, token),) = self.api.asked
        self.assertEqual((method, path, token), ("GET", "/v1/instances", self.token.id))
        expected = {"project": self.tenant.id, "gone": "false", "attainment": "true", "sort": "health", "limit": "21"}
        self.assertEqual(query, expected)

    def test_pages(self) -> None:
        self.api.lists(*(instance(number) for number in range(21)))
        page = self.client.get(INDEX, {"health": "troubled"})
        self.assertEqual(len(page.context["table"].data), 20)
        self.assertContains(page, f"service_levels_marker={UUID.format(19)}&amp;health=troubled")
        self.client.get(INDEX, {"service_levels_marker": UUID.format(19)})
        self.assertEqual((self.api.asked[-1][2]["marker"], self.api.asked[-1][2]["sort"]), (UUID.format(19), "health"))
        page = self.client.get(INDEX, {"prev_service_levels_marker": UUID.format(19)})
        self.assertEqual(
            (self.api.asked[-1][2]["marker"], self.api.asked[-1][2]["sort"]), (UUID.format(19), "health:desc")
        )
        self.assertEqual([one.uuid for one in page.context["table"].data], [UUID.format(n) for n in range(19, -1, -1)])

    def test_the_server_filters(self) -> None:
        self.api.lists(instance(1))
        self.client.post(
            INDEX, {"service_levels__filter__q": "web", "service_levels__filter__q_field": "name_contains"}
        )
        self.client.get(INDEX, {"health": "guaranteed"})
        self.assertEqual(
            (self.api.asked[-1][2]["name_contains"], self.api.asked[-1][2]["health"]), ("web", "guaranteed")
        )
        self.client.get(INDEX, {"health": "nonsense"})
        self.assertNotIn("health", self.api.asked[-1][2])

    def test_an_empty_list_says_which(self) -> None:
        self.api.lists()
        for query, shown in (
            ({}, "No instances here that run on a host with Stella."),
            ({"health": "pending"}, "No service level waits for its host, and none is suspended."),
            ({"health": "troubled"}, "No instance is in trouble."),
        ):
            self.assertContains(self.client.get(INDEX, query), shown)
        self.client.post(
            INDEX, {"service_levels__filter__q": "web", "service_levels__filter__q_field": "name_contains"}
        )
        self.assertContains(self.client.get(INDEX), "No instance has this in its name.")

    def test_live_rows_are_those_of_the_page(self) -> None:
        self.api.lists(instance(1, objectives=PACKETS))
        live = self.client.get(LIVE)
        self.assertContains(live, f'data-stella-instance="{UUID.format(1)}"')
        self.assertNotContains(live, "<html")
        self.assertEqual(live["Cache-Control"], "no-store")

    def test_names_are_text(self) -> None:
        for name in (
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "한국어 🚀",
            "x" * 255,
            "{$ 7*7 $}",
        ):
            self.api.lists(instance(1, name=name, objectives=PACKETS))
            text = self.client.get(INDEX).content.decode()
            self.assertNotIn("<script>alert", text)
            self.assertNotIn("<img src=x", text)
            self.assertNotIn("{$ 7", text)

    def test_what_the_roles_forbid_is_not_offered(self) -> None:
        self.api.lists(instance(1, objectives=PACKETS, project_id=self.tenant.id))
        self.assertContains(self.client.get(INDEX), "Set Service Level")
        self.assertContains(self.client.get(INDEX), "Remove Service Level")
        self.sign_in("reader")
        self.assertNotContains(self.client.get(INDEX), "Set Service Level")
        self.assertNotContains(self.client.get(INDEX), "Remove Service Level")

    def test_nothing_in_the_page_tells_the_token_or_the_host(self) -> None:
        self.api.lists(instance(1, objectives=PACKETS, host="compute-7"))
        text = self.client.get(INDEX).content.decode()
        self.assertNotIn(self.token.id, text)
        self.assertNotIn("compute-7", text)


class DegradedListTest(TestCase):
    """Stella is down, or says no."""

    def test_down_is_said_once_and_costs_no_time_after_that(self) -> None:
        self.sign_in(endpoint="http://127.0.0.1:9")
        page = self.client.get(INDEX)
        self.assertContains(page, "Stella&#x27;s API does not answer.")
        live = self.client.get(LIVE)
        self.assertEqual(live.status_code, 503)

    def test_a_slow_api_costs_two_seconds_at_most(self) -> None:
        self.api.delay_seconds = 5.0
        client, begun = transport.of(self.request), time.monotonic()
        self.assertEqual(client.ask("GET", "/v1/instances"), Unreachable("ReadTimeout"))
        self.assertLess(time.monotonic() - begun, transport.BUDGET_SECONDS + 0.3)
        self.assertContains(self.client.get(INDEX), "does not answer")
        self.assertEqual(len(self.api.asked), 1)

    def test_a_refusal_is_a_sentence(self) -> None:
        self.api.answer("GET", "/v1/instances", *error("stella.request.forbidden", 403, "no"))
        self.assertContains(self.client.get(INDEX), "Your roles do not allow this.")

    def test_what_is_no_json_is_no_answer(self) -> None:
        self.api.answer("GET", "/v1/instances", 502)
        self.assertContains(self.client.get(INDEX), "does not answer")
