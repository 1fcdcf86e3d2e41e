"""The page of one instance, and what its charts ask for."""

from typing import Any

from django.urls import reverse

from tests import sla_records
from tests.base import TestCase
from tests.emulated_api import NOW, UUID, error, instance

ONE = UUID.format(1)
DETAIL, USAGE, CSV = (
    reverse(f"horizon:project:service_levels:{name}", args=[ONE]) for name in ("detail", "usage", "csv")
)
OBJECTIVES = {
    "network_packets": (20_000.0, 14_250.0, "VIOLATED", "cpu", None, None),
    "cpu": (0.2, 0.21, "MET", None, None, None),
}
DAY, MONTH = "2026-11-28T00:00:00Z", "2026-11-01T00:00:00Z"


def seconds(**given: int) -> dict[str, int]:
    return {
        name: given.get(name, 0) for name in ("met", "violated", "degraded", "no_demand", "self_limited", "unknown")
    }


def attained(start: str, **by_metric: dict[str, int]) -> dict[str, Any]:
    objectives = [
        {"metric": metric, "seconds": counted, "attainment_ratio": None} for metric, counted in by_metric.items()
    ]
    return {"from": start, "to": NOW, "objectives": objectives}


def point(at: str, **by_metric: dict[str, Any]) -> dict[str, Any]:
    return {"at": at, "objectives": [{"metric": metric, **told} for metric, told in by_metric.items()]}


class DetailTest(TestCase):
    """All of the page comes from six requests."""

    def setUp(self) -> None:
        super().setUp()
        self.api.lists(instance(1, objectives=OBJECTIVES, name="<b>web</b>"))
        month = attained(MONTH, network_packets=seconds(met=99_974, violated=26), cpu=seconds(met=10))
        self.attains(month)
        day = {"usage": 1.0, "demand": 2.0, "seconds": seconds(met=50, degraded=50), "causes": {"cpu": 50}}
        self.uses(
            point(
                "2026-11-03T00:00:00Z", network_packets=day, cpu={**day, "seconds": seconds(no_demand=9), "causes": {}}
            )
        )
        episodes = [
            {"metric": "network_packets", "opened_at": "2026-11-03T10:00:00Z", "closed_at": closed, "cause": cause}
            for closed, cause in (("2026-11-03T10:00:20Z", "cpu"), ("2026-11-03T10:00:06Z", "network"))
        ]
        self.api.answer("GET", "/v1/violations", 200, {"violations": episodes, "links": []})
        change = {
            "generation": 1,
            "changed_at": MONTH,
            "user_id": self.user.id,
            "request_id": "r",
            "remote_address": "10.9.8.7",
        }
        changes = [
            {
                **change,
                "generation": 2,
                "user_id": "system",
                "before": {"cpu": {"floor": 0.1}},
                "after": {"cpu": {"floor": 0.2}},
            },
            {**change, "before": None, "after": {"cpu": {"floor": 0.1}}},
        ]
        self.api.answer("GET", f"/v1/instances/{ONE}/slo/history", 200, {"changes": changes, "links": []})
        self.api.answer("GET", f"/v1/instances/{ONE}/budget", *error("stella.request.not_found", 404, "no class"))

    def attains(self, month: dict[str, Any]) -> None:
        today = attained(DAY, cpu=seconds(met=10, unknown=5))
        self.api.answer(
            "GET", f"/v1/instances/{ONE}/attainment", 200, {"uuid": ONE, **month, "today": today, "month": month}
        )

    def uses(self, *points: dict[str, Any], **more: Any) -> None:
        told = {"uuid": ONE, "from": MONTH, "to": NOW, "step": 60, "watched_until": None, "not_watched_reason": None}
        self.api.answer("GET", f"/v1/instances/{ONE}/usage", 200, {**told, "points": list(points), **more})

    def page(self) -> str:
        return self.client.get(DETAIL).content.decode().replace("\xa0", " ")

    def test_the_verdict_is_about_the_worst_objective(self) -> None:
        text = self.page()
        self.assertIn(
            "Network packets: kept in 99.97 % of the seconds in which it was asked for, this month; missed 26 s. "
            "Main cause: too little CPU.",
            text,
        )
        self.assertEqual(len(self.api.asked), 6)
        self.assertNotIn("<b>web", text)
        self.assertNotIn("10.9.8.7", text)
        self.assertLess(text.index("<h2>CPU"), text.index("<h2>Network packets"))
        for shown in ("14.2 kpps", "missed 26 s", "unknown 5 s", "Stella", "you", "CPU at least 10 %"):
            self.assertIn(shown, text)

    def test_the_error_budget(self) -> None:
        self.assertNotIn("stella-budget", self.page())
        budget = f"/v1/instances/{ONE}/budget"
        self.api.answer("GET", budget, 200, sla_records.shown_budget())
        text = self.page()
        self.assert_shows(
            text,
            "SLA class gold: 7.5 min of 10 min are left of the error budget (Network packets).",
            "2.5 min",
            "75.00 %",
        )
        self.assert_shows(
            text, "50\N{MULTIPLICATION SIGN}", "2026-11-29", "10 %: 4.99 EUR after 7.5 min more", "99.975 %"
        )
        self.assert_shows(
            text, f"{reverse('horizon:project:sla_reports:report', args=[sla_records.SLA])}?period=2026-11"
        )
        missed = sla_records.objective(left_seconds=-130, used_seconds=730, burn_rates={})
        owed = {"credit_ratio": "0.1", "credit_amount": "4.99", "next_credit": None}
        self.api.answer("GET", budget, 200, sla_records.shown_budget(missed, **owed))
        text = self.page()
        self.assert_shows(
            text, "the target of Network packets is missed, by 2.1 min.", "10 %: 4.99 EUR", "target missed"
        )
        self.api.answer("GET", budget, *error("stella.server.database_unreachable", 503, "x"))
        self.assert_shows(self.page(), "database cannot be reached", "missed 26 s")

    def test_other_verdicts(self) -> None:
        self.attains(attained(MONTH, cpu=seconds(met=10)))
        self.assertIn("Kept in every second in which it was asked for, this month.", self.page())
        self.attains(attained(MONTH, cpu=seconds(no_demand=10)))
        self.assertIn("It has not asked for what it is guaranteed this month.", self.page())
        self.api.lists(instance(1))
        self.assertIn("Best effort: nothing is guaranteed to this instance.", self.page())

    def test_the_calendar_has_each_day_of_the_month(self) -> None:
        month = self.client.get(DETAIL).context["month"]
        self.assertEqual(month["days"], list(range(1, 31)))
        cpu, packets = month["rows"]
        self.assertEqual(
            (packets["cells"][2]["kind"], packets["cells"][2]["title"]), ("missed", "50.00\xa0% missed 50 s")
        )
        self.assertEqual(
            (cpu["cells"][2]["kind"], cpu["cells"][27]["kind"], cpu["cells"][29]["kind"]), ("idle", "met", "none")
        )

    def test_a_part_that_fails_leaves_the_rest(self) -> None:
        self.api.answer("GET", "/v1/violations", *error("stella.server.database_unreachable", 503, "x"))
        text = self.page()
        self.assertIn("database cannot be reached", text)
        self.assertIn("missed 26 s.", text)

    def test_an_instance_that_is_not_there(self) -> None:
        self.api.answer("GET", f"/v1/instances/{ONE}", *error("stella.request.not_found", 404, "x"))
        self.assertIn("Stella does not know this instance", self.page())

    def test_what_was_promised_when(self) -> None:
        promises = self.client.get(DETAIL).context["promises"]
        self.assertEqual([step["floor"] for step in promises["cpu"]], [0.1, 0.2])

    def test_points_of_a_chart(self) -> None:
        second = {"usage": 3.0, "demand": None, "status": "VIOLATED", "cause": "cpu"}
        self.uses(point("2026-11-28T12:00:00Z", cpu=second), not_watched_reason="Too many.")
        found = self.client.get(USAGE, {"span": "live", "after": "99999999999"}).json()
        self.assertEqual((found["note"], found["seconds"], found["step"]), ("No live points come: Too many.", 900, 1))
        at = 1_795_867_200
        expected = {
            "at": [at],
            "length": [1],
            "usage": [3.0],
            "demand": [None],
            "status": ["VIOLATED"],
            "cause": ["too little CPU"],
        }
        self.assertEqual(found["objectives"], {"cpu": expected})
        self.assertEqual(self.api.asked[-1][2]["step"], "1")
        self.client.get(USAGE, {"span": "30d"})
        self.assertEqual(self.api.asked[-1][2]["step"], "3600")
        self.assertEqual(self.client.get(USAGE, {"span": "forever"}).status_code, 404)
        self.assertEqual(self.client.get(USAGE, {"span": "live", "after": "../x"}).status_code, 200)

    def test_live_points_come_after_the_minutes_of_history(self) -> None:
        second = {"usage": 3.0, "demand": None, "status": "MET", "cause": None}
        minute = {"usage": 1.0, "demand": None, "seconds": seconds(met=60), "causes": {}}
        told = {"uuid": ONE, "from": MONTH, "to": NOW, "watched_until": None, "not_watched_reason": None}

        def usage(query: dict[str, str], body: Any) -> dict[str, Any]:
            if query["step"] == "1":
                return {**told, "step": 1, "points": [point("2026-11-28T12:00:30Z", cpu=second)]}
            times = ("2026-11-28T11:59:00Z", "2026-11-28T12:00:00Z", "2026-11-28T12:01:00Z")
            points = [point(at, cpu=minute, block_bytes=minute) for at in times]
            return {**told, "step": int(query["step"]), "points": points}

        self.api.answer("GET", f"/v1/instances/{ONE}/usage", 200, usage)
        found = self.client.get(USAGE, {"span": "live"}).json()["objectives"]
        at = 1_795_867_200
        self.assertEqual(found["cpu"]["at"], [at - 60, at, at + 30])
        self.assertEqual((found["cpu"]["length"], found["cpu"]["usage"]), ([60, 30, 1], [1.0, 1.0, 3.0]))
        self.assertEqual(found["block_bytes"]["length"], [60, 60, 60])
        later = self.client.get(USAGE, {"span": "live", "after": str(at)}).json()["objectives"]
        self.assertEqual((later["cpu"]["at"], set(later)), ([at + 30], {"cpu"}))

    def test_what_its_io_costs(self) -> None:
        one = instance(1, objectives=OBJECTIVES, reserved_cpu_cores=0.7)
        self.api.lists({**one, "costs": {"network_packets": {"vcpu": 1e-5, "io": 2e-5, "estimated": True}}})
        text = self.page()
        self.assertEqual(text.count("CPU that its I/O costs"), 1)
        self.assertIn('data-stella-costs="3e-05">42.8 %', text)
        self.assertIn("60 % at the guaranteed rate, an estimate", text)
        self.assertIn("CPU set aside for it on its host: 70 %.", text)

    def test_when_what_is_guaranteed_changed(self) -> None:
        changes = self.client.get(DETAIL).context["changes"]
        self.assertEqual(changes["network_packets"], [])
        self.assertEqual(
            [one["text"].replace("\xa0", " ") for one in changes["cpu"]],
            ["Changed: at least 10 %", "Changed: at least 20 %"],
        )

    def test_why_it_is_not_in_force(self) -> None:
        one = instance(1, objectives=OBJECTIVES)
        one["slo"] |= {"state": "suspended", "reason": "x", "why": [{"code": "shelved", "values": {}}]}
        self.api.lists(one)
        self.assertIn("suspended: the server is shelved: it has no host", self.page())

    def test_a_file_for_a_spreadsheet(self) -> None:
        answer = self.client.get(CSV, {"span": "3h"})
        self.assertEqual(answer["Content-Disposition"], f'attachment; filename="service-level-{ONE}.csv"')
        lines = b"".join(answer.streaming_content).decode().splitlines()
        self.assertEqual(lines[1], "2026-11-03T00:00:00+00:00,network_packets,packets/s,1.0,2.0,50,50,0,cpu")

    def test_down(self) -> None:
        self.sign_in(endpoint="http://127.0.0.1:9")
        self.assertIn("does not answer", self.page())
        self.assertEqual(self.client.get(USAGE).status_code, 503)
