"""Error budgets: the lists, the list of instances by what is left, the page of an instance with its burn line, and its form."""

from typing import Any
from unittest import mock

from django.test import SimpleTestCase
from django.urls import reverse
from django.utils import translation
from stella_dashboard import access
from stella_dashboard.words import slas

from tests import sla_records as records
from tests.base import TestCase
from tests.emulated_api import NOW, UUID, error, instance
from tests.test_operators import OperatorCase, allow_all_but

ONE = UUID.format(1)
PROJECT, ALL = reverse("horizon:project:error_budgets:index"), reverse("horizon:admin:stella_budgets:index")
INDEX = reverse("horizon:project:service_levels:index")
DETAIL, SET, BURN, CSV = (
    reverse(f"horizon:project:service_levels:{name}", args=[ONE]) for name in ("detail", "set", "burn", "burn_csv")
)
BUDGET = f"/v1/instances/{ONE}/budget"
PACKETS = {"network_packets": (20_000.0, 14_250.0, "MET", None, 1.0, 1.0)}
NO_CLASS = error("stella.request.not_found", 404, "no class")


class BudgetsTest(OperatorCase):
    """The lists."""

    def fill_budgets(self, *found: dict[str, Any]) -> None:
        self.api.answer("GET", "/v1/budgets", 200, {"budgets": list(found)})

    def test_one_request_shows_everything(self) -> None:
        missed = records.budget(2, left_seconds=-90, left_ratio=-0.15, credit_ratio="0.1", credit_amount="4.99")
        none = records.budget(3, records.objective(attainment_ratio=None), left_ratio=None, next_credit=None)
        self.fill_budgets(records.budget(1), missed, none)
        text = self.text(PROJECT)
        self.assert_shows(
            text,
            "web-1",
            "gold",
            "7.5 min",
            "75.00 %",
            "Network packets",
            "2026-11-29",
            "50\N{MULTIPLICATION SIGN}",
            "0.25\N{MULTIPLICATION SIGN}",
        )
        self.assert_shows(text, "10 %: 4.99 EUR after 7.5 min more", "target missed", "\N{MINUS SIGN}90 s")
        ((method, path, query, _, token),) = self.api.asked
        self.assertEqual((method, path, token), ("GET", "/v1/budgets", self.token.id))
        self.assertEqual(query, {"project": self.tenant.id, "sort": "left_ratio", "limit": "1000"})

    def test_operators_see_all_projects(self) -> None:
        self.fill_budgets(records.budget(1, project_id="a" * 32))
        text = self.text(ALL, project="p1", sla=records.SLA, sort="left_seconds:desc")
        self.assert_shows(text, reverse("horizon:identity:projects:detail", args=["a" * 32]))
        asked = {"project": "p1", "sla": records.SLA, "sort": "left_seconds:desc", "limit": "1000"}
        self.assertEqual(self.api.asked[-1][2], asked)

    def test_it_is_cut_into_pages(self) -> None:
        self.fill_budgets(*(records.budget(number) for number in range(45)))
        text = self.text(PROJECT, after=UUID.format(19))
        self.assert_shows(text, "web-20<", "web-39<", f"after={UUID.format(39)}", f"before={UUID.format(20)}")
        self.assertNotIn("web-40<", text)
        text = self.text(PROJECT, before=UUID.format(20))
        self.assert_shows(text, "web-0<", "web-19<")
        self.assertNotIn("before=", text)
        self.assert_shows(self.text(PROJECT, after="gone"), "web-0<")

    def test_too_many_instances_are_a_sentence(self) -> None:
        refused = error("stella.request.invalid", 400, "project: more than 1000 instances are meant.", field="project")
        self.api.answer("GET", "/v1/budgets", *refused)
        self.assert_shows(self.text(ALL), "more than 1000 instances are meant")

    def test_members_see_their_own_alone(self) -> None:
        self.sign_in("member", "reader")
        self.fill_budgets(records.budget(1))
        self.assert_shows(self.text(PROJECT, project="other"), "web-1")
        self.assertEqual(self.api.asked[-1][2]["project"], self.tenant.id)
        self.assertIn(self.client.get(ALL).status_code, (302, 403))
        self.assertEqual(len(self.api.asked), 1)


class ByBudgetTest(OperatorCase):
    """The list of instances, sorted by what is left."""

    def setUp(self) -> None:
        super().setUp()
        self.api.lists(*(instance(number, objectives=PACKETS) for number in (1, 2, 3)))
        told = {"budgets": [records.budget(3, left_ratio=-0.1, left_seconds=-60), records.budget(2)]}
        self.api.answer("GET", "/v1/budgets", 200, told)

    def test_two_requests_and_least_first(self) -> None:
        text = self.text(INDEX, sort="budget", health="guaranteed")
        self.assertLess(text.index("web-3"), text.index("web-2"))
        self.assertLess(text.index("web-2"), text.index("web-1"))
        self.assert_shows(text, "gold: target missed", "gold: 7.5 min left (75.00 %)", "Under no SLA class")
        self.assertEqual([path for _, path in self.asked], ["/v1/budgets", "/v1/instances"])
        self.assertEqual(self.api.asked[-1][2]["health"], "guaranteed")
        self.assertIn('data-stella-live=""', text, "nothing comes anew")

    def test_otherwise_budgets_are_not_asked_for(self) -> None:
        text = self.text(INDEX)
        self.assertNotIn("gold", text)
        self.assert_shows(text, "?sort=budget", 'data-stella-module="service_levels"')
        self.assertEqual([path for _, path in self.asked], ["/v1/instances"])

    def test_one_who_may_not_see_them_is_not_offered_them(self) -> None:
        with mock.patch("openstack_auth.policy.check", allow_all_but(access.LIST_BUDGETS)):
            self.assertNotIn("sort=budget", self.text(INDEX))
            self.text(INDEX, sort="budget")
        self.assertEqual([path for _, path in self.asked], ["/v1/instances"] * 2)


def point(at: str, **seconds: int) -> dict[str, Any]:
    counted = dict.fromkeys(("met", "violated", "degraded", "no_demand", "self_limited", "unknown"), 0) | seconds
    told = {"metric": "network_packets", "usage": 1.0, "demand": None, "seconds": counted, "causes": {}}
    return {"at": at, "objectives": [told]}


class BurnTest(TestCase):
    """The page of an instance."""

    def setUp(self) -> None:
        super().setUp()
        self.api.lists(instance(1, objectives=PACKETS))
        self.api.answer("GET", BUDGET, 200, records.shown_budget())
        hours = [
            point("2026-11-28T09:00:00Z", met=3000, violated=60),
            point("2026-11-28T10:00:00Z", met=1000, degraded=30, unknown=60, no_demand=500),
        ]
        self.answers = {"3600": hours, "60": [point("2026-11-28T11:00:00Z", met=60)]}
        told = {"uuid": ONE, "from": NOW, "to": NOW, "watched_until": None, "not_watched_reason": None}

        def usage(query: dict[str, str], body: Any) -> dict[str, Any]:
            return {**told, "step": int(query["step"]), "points": self.answers[query["step"]]}

        self.api.answer("GET", f"/v1/instances/{ONE}/usage", 200, usage)

    def test_the_line_against_an_even_burn(self) -> None:
        found = self.client.get(BURN).json()
        line = found["objectives"]["network_packets"]
        nine = 1_795_856_400
        self.assertEqual(line["at"], [nine, nine + 3600, nine + 7200, nine + 7260])
        self.assertEqual(line["used"], [0.0, 1.0, 2.5, 2.5])
        self.assertEqual(line["even"], [0.0, 3.06 / 60, 4.15 / 60, 4.21 / 60])
        self.assertEqual((found["start"], found["end"]), (1_793_458_800, 1_796_050_800))
        self.assertEqual(found["notes"], {"network_packets": ""})
        self.assertEqual(self.api.asked[1][2], {"step": "3600", "from": "2026-10-31T15:00:00Z"})
        self.assertEqual(self.api.asked[2][2]["step"], "60")

    def test_unknown_seconds_count_as_the_terms_say(self) -> None:
        told = {**records.TERMS, "unknown": "ignored"}
        self.api.answer("GET", BUDGET, 200, records.shown_budget(terms=told))
        line = self.client.get(BURN).json()["objectives"]["network_packets"]
        self.assertEqual(line["used"][-1], 1.5)

    def test_what_does_not_count_is_said(self) -> None:
        self.api.answer("GET", BUDGET, 200, records.shown_budget(records.objective(used_seconds=30)))
        note = self.client.get(BURN).json()["notes"]["network_packets"]
        self.assertIn("ends at 2.5 min. Of that 30 s count", note)

    def test_a_file_for_a_spreadsheet(self) -> None:
        answer = self.client.get(CSV)
        self.assertEqual(answer["Content-Disposition"], f'attachment; filename="error-budget-{ONE}-2026-11.csv"')
        lines = answer.content.decode().splitlines()
        self.assertEqual(lines[0], "time,metric,used_seconds,even_burn_seconds")
        self.assertEqual(lines[2], "2026-11-28T10:00:00+00:00,network_packets,60,3.06")

    def test_an_instance_under_no_class(self) -> None:
        self.api.answer("GET", BUDGET, *NO_CLASS)
        for address in (BURN, CSV):
            self.assertEqual(self.client.get(address).status_code, 404)

    def test_down(self) -> None:
        self.sign_in(endpoint="http://127.0.0.1:9")
        self.assertEqual(self.client.get(BURN).status_code, 503)


class WordsTest(SimpleTestCase):
    """Shares, minutes, money, amounts."""

    def test_ratios_stay_exact(self) -> None:
        shown = {
            "0.999": "99.9 %",
            "0.9": "90 %",
            "1": "100 %",
            "0": "0 %",
            "0.998999": "99.8999 %",
            None: "\N{EN DASH}",
        }
        self.assertEqual({ratio: slas.percent(ratio).replace("\xa0", " ") for ratio in shown}, shown)
        for text, ratio in {"99.9 %": "0.999", "10%": "0.1", "100 %": "1", " 0.5% ": "0.005"}.items():
            self.assertEqual(slas.parse_percent(text), ratio)
        for text in ("0.999", "1", "0 %", "101 %", "99.99999 %", "nan %", "-1 %", "%", "1e-9 %", "x"):
            with self.assertRaises(ValueError, msg=text):
                slas.parse_percent(text)

    def test_no_more_is_left_than_there_is(self) -> None:
        shown = {
            0: "0 s",
            119: "119 s",
            120: "2 min",
            125: "2 min",
            126: "2.1 min",
            -1: "\N{MINUS SIGN}1 s",
            -121: "\N{MINUS SIGN}2.1 min",
        }
        with translation.override("en"):
            self.assertEqual({seconds: slas.minutes(seconds) for seconds in shown}, shown)

    def test_money(self) -> None:
        self.assertEqual(slas.parse_money("49.90 EUR"), ("49.90", "EUR"))
        self.assertEqual(slas.parse_money("50000krw"), ("50000", "KRW"))
        self.assertIsNone(slas.parse_money(" "))
        for text in ("49.90", "EUR", "-1 EUR", "1,5 EUR", "1.23456 EUR"):
            with self.assertRaises(ValueError, msg=text):
                slas.parse_money(text)

    def test_amounts_that_grow(self) -> None:
        self.assertEqual(
            slas.parse_amount("network_packets", "1 kpps + 5 kpps/vcpu"), {"base": 1000.0, "per_vcpu": 5000.0}
        )
        self.assertEqual(slas.parse_amount("block_bytes", "1 MB/s/GiB"), {"per_disk_gib": 1e6})
        self.assertEqual(slas.parse_amount("cpu", "20 %"), {"base": 0.2})
        self.assertIsNone(slas.parse_amount("cpu", ""))
        for told in ({"base": 1000.0, "per_vcpu": 5000.0}, {"per_disk_gib": 2000.0}):
            self.assertEqual(slas.parse_amount("network_packets", slas.amount("network_packets", told)), told)
        for text in ("1 kpps +", "5 apples", "+", "1 kpps/host"):
            with self.assertRaises(ValueError, msg=text):
                slas.parse_amount("network_packets", text)


class OffersTest(OperatorCase):
    """SLA classes as templates of the form."""

    def setUp(self) -> None:
        super().setUp()
        self.api.lists(instance(1, vcpus=2))
        self.api.answer("GET", BUDGET, 200, records.shown_budget())
        offered = {"block_bytes": {"limit": None, "default": {"base": 1e6, "per_vcpu": 1e6, "per_disk_gib": 5.0}}}
        other = records.sla(records.OTHER, "silver", objectives=offered)
        self.lists("slas", records.sla(), other)
        self.api.answer("POST", f"/v1/slas/{records.OTHER}/attachments", 201, records.attachment())
        self.api.answer("PUT", f"/v1/instances/{ONE}/slo", 201, {})

    def sent(self, method: str) -> list[Any]:
        return [(path, body) for asked, path, _, body, _ in self.api.asked if asked == method]

    def test_what_each_offers(self) -> None:
        text = self.text(SET)
        self.assert_shows(text, "SLA class gold counts for it.", "It allows: Network packets at most 11 kpps.")
        self.assert_shows(text, "gold: fill in what it offers", "silver: attach it, and fill in what it offers")
        self.assert_shows(
            text, "{&quot;network_packets-floor&quot;: &quot;6 kpps&quot;}".replace(" kpps", "\\u00a0kpps")
        )
        self.assert_shows(text, "{&quot;block_bytes-floor&quot;: &quot;3\\u00a0MB/s&quot;}")

    def test_another_class_is_attached_before_it_is_set(self) -> None:
        answer = self.client.post(SET, {"sla": records.OTHER, "cpu-floor": "20 %"})
        self.assertEqual(answer.status_code, 302)
        ((path, body),) = self.sent("POST")
        self.assertEqual(path, f"/v1/slas/{records.OTHER}/attachments")
        self.assertEqual(body, {"scope": "instance", "target": ONE, "replace": True})
        self.assertEqual([path for path, _ in self.sent("PUT")], [f"/v1/instances/{ONE}/slo"])
        methods = [method for method, *_ in self.api.asked]
        self.assertLess(methods.index("POST"), methods.index("PUT"))

    def test_the_class_that_counts_already_is_not_attached(self) -> None:
        self.client.post(SET, {"sla": records.SLA, "cpu-floor": "20 %"})
        self.assertEqual((self.sent("POST"), len(self.sent("PUT"))), ([], 1))

    def test_what_is_refused_is_said(self) -> None:
        refused = error("stella.sla.not_allowed", 422, "network_packets.floor: at most 11kpps.", field="objectives.cpu")
        self.api.answer("PUT", f"/v1/instances/{ONE}/slo", *refused)
        text = self.client.post(SET, {"sla": records.OTHER, "cpu-floor": "20 %"}).content.decode()
        self.assert_shows(text, "The SLA class is attached; the service level is not set yet.")
        self.api.answer("POST", f"/v1/slas/{records.OTHER}/attachments", *error("stella.request.forbidden", 403, "no"))
        before = len(self.sent("PUT"))
        text = self.client.post(SET, {"sla": records.OTHER, "cpu-floor": "20 %"}).content.decode()
        self.assert_shows(text, "Your roles do not allow this.")
        self.assertEqual(len(self.sent("PUT")), before)

    def test_members_are_offered_what_counts_for_them_alone(self) -> None:
        self.sign_in("member", "reader")
        text = self.text(SET)
        self.assert_shows(text, "gold: fill in what it offers")
        self.assertNotIn("silver", text)
        self.assertNotIn("/v1/slas", [path for _, path in self.asked])
        self.client.post(SET, {"sla": records.OTHER, "cpu-floor": "20 %"})
        self.assertEqual(self.sent("POST"), [])

    def test_the_form_does_without(self) -> None:
        self.api.answer("GET", BUDGET, *error("stella.server.failed", 500, "x"))
        text = self.text(SET)
        self.assertNotIn("data-stella-offers", text)
        self.assert_shows(text, 'name="cpu-floor"')
