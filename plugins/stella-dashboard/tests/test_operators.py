"""The panels of operators: what they ask, what they show, what they offer to whom."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from django.test import SimpleTestCase
from django.urls import reverse
from stella_dashboard import access
from stella_dashboard.content.hosts import rows
from stella_dashboard.words import operators

from tests import operator_records as records
from tests import sla_records
from tests.base import TestCase
from tests.emulated_api import UUID, error, instance

HOSTS = reverse("horizon:admin:stella_hosts:index")
HOST = reverse("horizon:admin:stella_hosts:detail", args=["compute-1"])
MODE = reverse("horizon:admin:stella_hosts:mode", args=["compute-1"])
VIOLATIONS = reverse("horizon:admin:stella_violations:index")
DECISIONS = reverse("horizon:admin:stella_decisions:index")
OVERVIEW = reverse("horizon:admin:stella_overview:index")
TAKE = reverse("horizon:admin:stella_decisions:move", args=[7])
LIVE_MIGRATE = "os_compute_api:os-migrate-server:migrate_live"
ALL = (HOSTS, HOST, VIOLATIONS, DECISIONS, OVERVIEW)
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "한국어 🚀", "x" * 255, "{$ 7*7 $}")


def allow_all_but(forbidden: str) -> Callable[..., bool]:
    """Policies that forbid one rule."""
    return lambda actions, *_: forbidden not in {rule for _, rule in actions}


class OperatorCase(TestCase):
    """Signed in as an administrator."""

    def setUp(self) -> None:
        super().setUp()
        self.sign_in("admin", "member", "reader")

    def fill(self, **more: Any) -> None:
        """One of each."""
        self.api.answer("GET", "/v1/summary", 200, records.summary())
        self.lists("hosts", records.host())
        self.api.answer("GET", "/v1/hosts/compute-1", 200, records.host())
        self.api.answer("GET", "/v1/hosts/compute-1/explanation", 200, records.explanation(records.held(1)))
        self.lists("violations", records.violation())
        self.lists("decisions", records.decision())
        self.api.lists(instance(1, objectives={"cpu": (0.5, 0.2, "MET", None, 1.0, 1.0)}, reserved_cpu_cores=8.0))

    def lists(self, name: str, *items: dict[str, Any]) -> None:
        self.api.answer("GET", f"/v1/{name}", 200, {name: list(items), "links": []})

    def text(self, address: str, **query: str) -> str:
        page = self.client.get(address, query)
        self.assertEqual(page.status_code, 200)
        return page.content.decode().replace("\xa0", " ")

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Methods and paths, in order."""
        return [(method, path) for method, path, *_ in self.api.asked]


class HostsTest(OperatorCase):
    """The list of hosts."""

    def test_one_request_shows_everything(self) -> None:
        self.lists(
            "hosts",
            records.host(open_violations=3),
            records.host("compute-2", silent=True, mode="observe", capacity_cpu_cores=None, free_cpu_cores=None),
        )
        text = self.text(HOSTS)
        shown = (
            "compute-1",
            "Enforce",
            "32 cores",
            "30.5 cores",
            "1.5 cores",
            "0.25 cores",
            "0.9",
            "lacks 1 capability",
        )
        self.assert_shows(text, *shown, "Silent", "Observe", "Change Mode", "little", "?open=true&amp;host=compute-1")
        ((method, path, query, _, token),) = self.api.asked
        self.assertEqual((method, path, token), ("GET", "/v1/hosts", self.token.id))
        self.assertEqual(query, {"sort": "name", "limit": "21"})

    def test_the_server_filters_sorts_and_pages(self) -> None:
        self.lists("hosts", *(records.host(f"compute-{number}") for number in range(21)))
        text = self.text(HOSTS, name_contains="comp", mode="enforce", silent="false", sort="free_cpu_cores")
        asked = {"name_contains": "comp", "mode": "enforce", "silent": "false", "sort": "free_cpu_cores", "limit": "21"}
        self.assertEqual(self.api.asked[-1][2], asked)
        self.assert_shows(text, "sort=free_cpu_cores&amp;after=compute-19")
        self.assert_shows(text, f'action="{HOSTS}"')  # without it Angular, which Horizon has everywhere, sends no form
        self.assert_shows(text, 'aria-sort="ascending"')
        self.assert_shows(text, "sort=free_cpu_cores%3Adesc")
        self.assertNotIn("compute-20", text)
        text = self.text(HOSTS, sort="open_violations:desc", before="compute-30")
        self.assertEqual(self.api.asked[-1][2], {"sort": "open_violations", "limit": "21", "marker": "compute-30"})
        self.assertLess(text.index("compute-19"), text.index("compute-0<"))
        self.text(HOSTS, sort="nonsense:desc", mode="nonsense")
        self.assertEqual(self.api.asked[-1][2], {"sort": "name", "limit": "21"})

    def test_an_operator_who_may_not_change_the_mode_is_not_offered_to(self) -> None:
        self.fill()
        for address in (HOSTS, HOST):
            self.assert_shows(self.text(address), "Change Mode")
        with mock.patch("openstack_auth.policy.check", allow_all_but(access.UPDATE_HOST)):
            for address in (HOSTS, HOST):
                self.assertFalse("Change Mode" in self.text(address))
            before = len(self.api.asked)
            self.assert_shows(self.text(MODE), "Your roles do not allow this.")
            self.client.post(MODE, {"mode": "observe", "generation": "7", "confirmed": "on"})
            self.assertEqual(len(self.api.asked), before)


class CoresTest(SimpleTestCase):
    """CPU of a host in words."""

    def test_three_digits_and_never_a_power_of_ten(self) -> None:
        shown = {
            0.25: "0.25 cores",
            1.0: "1 core",
            999.9: "1000 cores",
            1024.0: "1020 cores",
            -1.5: "\N{MINUS SIGN}1.5 cores",
        }
        self.assertEqual({value: rows.cores(value) for value in shown}, shown)
        self.assertEqual(rows.cores(None), "\N{EN DASH}")


class HostTest(OperatorCase):
    """The page of a host."""

    def test_who_holds_what_and_who_offends(self) -> None:
        self.fill()
        self.lists("violations", records.violation(2, closed_at=None))
        text = self.text(HOST)
        self.assert_shows(
            text, "web-1", "8 cores", "25.00 %", "CPU: at least 50 %", "web-2", "greedy", "too little CPU", "open"
        )
        self.assert_shows(text, "Disk latency: On average at most")
        self.assert_shows(text, "does not enforce a target")
        self.assert_shows(text, reverse("horizon:project:service_levels:detail", args=[UUID.format(99)]))
        asked = ["/v1/hosts/compute-1", "/v1/hosts/compute-1/explanation", "/v1/violations"]
        self.assertEqual(self.asked, [("GET", path) for path in asked])

    def explain(self, *instances: dict[str, Any], **more: Any) -> str:
        self.fill()
        told = records.explanation(*instances, **more)
        self.api.answer("GET", "/v1/hosts/compute-1/explanation", 200, told)
        return self.text(HOST)

    def test_offenders_come_with_what_they_took_from_whom(self) -> None:
        services = {"used_cpu_cores": 2.0, "entitled_cpu_cores": 0.5, "excess_cpu_cores": 1.5}
        text = self.explain(
            records.held(
                9,
                name="greedy",
                slo_state=None,
                guaranteed={},
                objectives=[],
                used_cpu_cores=1.75,
                entitled_cpu_cores=0.5,
                excess_cpu_cores=1.25,
                offences=records.offences(2, 3, lasting=1, missed_seconds=90.0),
            ),
            records.held(1),
            host_services={**services, "offences": records.offences(*range(2, 10), missed_seconds=600.0)},
        )
        table = text[text.index('id="stella-offenders"') : text.index("Open violations</h2>")]
        self.assert_shows(table, "greedy", "1.75 cores", "0.5 cores", "1.25 cores", "1 open", "90 s", "web-2", "web-3")
        self.assert_shows(table, "the host itself", "10 min", "3 more", "2026-11-28 11:00:00")
        self.assertLess(table.index("the host itself"), table.index("greedy"))
        self.assertNotIn("web-1<", table)
        held = text[text.index('id="stella-holders"') :]
        self.assert_shows(held, "Best effort", "CPU: at least 50 %", "The host itself", "Head-room")

    def test_nobody_offends(self) -> None:
        text = self.explain(records.held(1, slo_state="suspended", state="paused", used_cpu_cores=None))
        self.assert_shows(text, "No violation names an offender here.", "suspended", "paused")
        self.assertIn("No instances on this host.", self.explain())

    def test_many_instances_are_paged(self) -> None:
        many = [records.held(number) for number in range(1, 46)]
        first = self.explain(*many)
        self.assert_shows(first, "web-20<", f"?after={UUID.format(20)}#stella-holders")
        self.assertNotIn("web-21<", first)
        second = self.text(HOST, after=UUID.format(20))
        self.assert_shows(second, "web-21<", "web-40<", f"?before={UUID.format(21)}#", f"?after={UUID.format(40)}#")
        last = self.text(HOST, after=UUID.format(40))
        self.assertIn("web-45<", last)
        self.assertNotIn("?after=", last)

    def test_an_api_that_cannot_explain_leaves_the_rest(self) -> None:
        self.fill()
        self.api.answer("GET", "/v1/hosts/compute-1/explanation", *error("stella.request.forbidden", 403, "no"))
        text = self.text(HOST)
        self.assert_shows(text, "Your roles do not allow this.", "Open violations", "32 cores")
        self.assertNotIn("stella-holders", text)

    def test_one_that_is_not_there(self) -> None:
        self.api.answer("GET", "/v1/hosts/compute-1", *error("stella.request.not_found", 404, "no"))
        self.assertIn("Stella does not know this host.", self.text(HOST))
        self.assertEqual(len(self.asked), 1)

    def test_a_part_that_fails_leaves_the_rest(self) -> None:
        self.fill()
        self.api.answer("GET", "/v1/violations", *error("stella.server.database_unreachable", 503, "no"))
        text = self.text(HOST)
        self.assert_shows(text, "database cannot be reached")
        self.assert_shows(text, "web-1")


class ModeTest(OperatorCase):
    """Change of mode."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.api.answer("PATCH", "/v1/hosts/compute-1", 200, records.host(mode="maintenance"))

    def test_what_each_mode_means_is_said(self) -> None:
        text = self.text(MODE)
        for mode in operators.MODES:
            self.assert_shows(text, f'value="{mode}"')
            self.assert_shows(text, str(operators.MODE_MEANINGS[mode]))
        self.assert_shows(text, 'value="enforce" checked')

    def test_it_is_changed_once_confirmed(self) -> None:
        given = {"mode": "maintenance", "generation": "7"}
        page = self.client.post(MODE, given)
        self.assertContains(page, "Confirm that the mode is to be changed.")
        self.assertNotIn(("PATCH", "/v1/hosts/compute-1"), self.asked)
        page = self.client.post(f"{MODE}?detail", {**given, "confirmed": "on"})
        self.assertRedirects(page, HOST, fetch_redirect_response=False)
        (body,) = [body for method, _, _, body, _ in self.api.asked if method == "PATCH"]
        self.assertEqual(body, {"mode": "maintenance", "generation": 7})

    def test_what_others_changed_meanwhile_is_not_overwritten(self) -> None:
        self.api.answer("PATCH", "/v1/hosts/compute-1", *error("stella.host.generation_conflict", 409, "no"))
        page = self.client.post(MODE, {"mode": "observe", "generation": "6", "confirmed": "on"})
        self.assertContains(page, "Someone else changed this host meanwhile.")
        self.assertContains(page, 'value="observe" checked')

    def test_a_host_that_cannot_be_shown_cannot_be_changed(self) -> None:
        self.api.answer("GET", "/v1/hosts/compute-1", *error("stella.request.forbidden", 403, "no"))
        page = self.client.get(MODE)
        self.assertContains(page, "Your roles do not allow this.")
        self.assertNotContains(page, 'name="confirmed"')


class ViolationsTest(OperatorCase):
    """The list of violations."""

    def test_one_request_shows_everything(self) -> None:
        self.lists(
            "violations",
            records.violation(2, opened_at="2026-11-28T11:00:30Z", project_id="a" * 32),
            records.violation(1, offender="host", offender_name=None, cause="host"),
        )
        text = self.text(VIOLATIONS)
        self.assert_shows(
            text, "web-1", "web-2", "Network packets", "60 s", "30 s", "too little CPU", "greedy", "the host itself"
        )
        self.assert_shows(text, reverse("horizon:identity:projects:detail", args=["a" * 32]))
        self.assert_shows(text, 'x="500" y="0" width="500"')
        self.assert_shows(text, 'x="0" y="0" width="1000"')
        ((_, path, query, _, _),) = self.api.asked
        self.assertEqual((path, query), ("/v1/violations", {"sort": "id:desc", "limit": "21"}))

    def test_filters(self) -> None:
        self.lists("violations")
        given = {"open": "true", "host": "compute-1", "uuid": UUID.format(1), "project": "p1"}
        text = self.text(VIOLATIONS, **given, **{"from": "2026-11-28T10:00", "to": "2026-11-28T12:00"})
        expected = {**given, "from": "2026-11-28T10:00:00Z", "to": "2026-11-28T12:00:00Z"}
        self.assertEqual(self.api.asked[-1][2], {**expected, "sort": "id:desc", "limit": "21"})
        self.assert_shows(text, "No violations.")
        self.assert_shows(text, "Show all")

    def test_times_are_those_of_the_user(self) -> None:
        self.lists("violations", records.violation())
        self.client.cookies["django_timezone"] = "Asia/Seoul"
        text = self.text(VIOLATIONS, **{"from": "2026-11-28T10:00"})
        self.assertEqual(self.api.asked[-1][2]["from"], "2026-11-28T01:00:00Z")
        self.assert_shows(text, "2026-11-28 20:00:00", 'value="2026-11-28T10:00"')

    def test_a_filter_that_is_wrong_says_so(self) -> None:
        self.lists("violations", records.violation())
        text = self.text(VIOLATIONS, uuid="web", host="<script>", open="perhaps", **{"from": "yesterday"})
        self.assert_shows(text, "Enter the whole ID of an instance.")
        self.assert_shows(text, "That is no name of a host.")
        self.assertNotIn("<script>&", text)
        self.assertEqual(self.api.asked[-1][2], {"sort": "id:desc", "limit": "21"})


class DecisionsTest(OperatorCase):
    """The list of decisions."""

    def test_one_request_shows_everything(self) -> None:
        self.lists(
            "decisions",
            records.decision(),
            records.decision(2, kind="host_mode", uuid=None, name=None, user_id="host:compute-2"),
        )
        text = self.text(DECISIONS)
        shown = (
            "Refused: does not fit",
            "50 % of CPU are needed for it and the host has 10 % left to guarantee",
            "web-1",
            "compute-1",
            "ann",
            "Mode of a host changed",
            "host compute-2",
        )
        self.assert_shows(text, *shown, "Network packets: at least 20 kpps", "req-1")
        ((_, path, query, _, _),) = self.api.asked
        self.assertEqual((path, query), ("/v1/decisions", {"sort": "id:desc", "limit": "21"}))

    def test_filters(self) -> None:
        self.lists("decisions")
        self.text(DECISIONS, kind="refusals", host="compute-1")
        asked = {"refusals": "true", "host": "compute-1", "sort": "id:desc", "limit": "21"}
        self.assertEqual(self.api.asked[-1][2], asked)
        self.text(DECISIONS, kind="host_mode", sort="decided_at")
        self.assertEqual(self.api.asked[-1][2], {"kind": "host_mode", "sort": "decided_at", "limit": "21"})


class SuggestedMoveTest(OperatorCase):
    """A move that Stella suggests is made by Nova when an operator says so."""

    def setUp(self) -> None:
        super().setUp()
        self.suggest()
        self.found = instance(7, name="hog", host="compute-1", project_id="p1")
        self.api.answer("GET", f"/v1/instances/{UUID.format(7)}", 200, self.found)

    def suggest(self, *, minutes: float = 5.0, **more: Any) -> None:
        decided = datetime.now(UTC) - timedelta(minutes=minutes)
        told = records.decision(
            7,
            kind="relief",
            name="hog",
            decided_at=decided.isoformat(),
            reason="the floor of another instance is missed on compute-1; moving it to compute-2 frees 0.800 cores",
            why=[
                {"code": "other_floor_missed", "values": {"host": "compute-1"}},
                {"code": "move_frees", "values": {"host": "compute-2", "cores": 0.8}},
            ],
            move=sla_records.move(state="suggested", measured_effect_seconds_per_hour=None, helped=None, **more),
        )
        self.lists("decisions", told)
        self.api.answer("GET", "/v1/decisions/7", 200, told)

    def test_it_has_a_button_for_those_who_may(self) -> None:
        text = self.text(DECISIONS)
        self.assert_shows(text, TAKE, "moving it to compute-2 frees 0.8 cores of CPU", "20 min an hour")
        with mock.patch("openstack_auth.policy.check", allow_all_but(LIVE_MIGRATE)):
            self.assertNotIn(TAKE, self.text(DECISIONS))
            self.assert_shows(self.text(TAKE), "Your roles do not allow this.")
        for more in ({"minutes": 61.0}, {"to": None}):
            self.suggest(**more)
            self.assertNotIn(TAKE, self.text(DECISIONS))

    def test_nova_is_asked_once_it_is_confirmed(self) -> None:
        text = self.text(TAKE)
        self.assert_shows(text, "Nova is asked to move hog from compute-1 to compute-2", "20 min an hour")
        with mock.patch("stella_dashboard.api.servers.nova.server_live_migrate") as asked:
            page = self.client.post(TAKE, {})
            self.assertRedirects(page, DECISIONS, fetch_redirect_response=False)
            ((_, uuid, host), _) = asked.call_args
            self.assertEqual((uuid, host), (UUID.format(7), "compute-2"))
            asked.side_effect = RuntimeError
            self.assertContains(self.client.post(TAKE, {}), "Nova does not move it.")

    def test_what_is_out_of_date_is_not_asked_for(self) -> None:
        def refuses() -> None:
            self.assert_shows(self.text(TAKE), "This suggestion is out of date")
            self.assertContains(self.client.post(TAKE, {}), "This suggestion is out of date")

        with mock.patch("stella_dashboard.api.servers.nova.server_live_migrate") as asked:
            self.api.answer("GET", f"/v1/instances/{UUID.format(7)}", 200, {**self.found, "host": "compute-2"})
            refuses()
            self.api.answer("GET", f"/v1/instances/{UUID.format(7)}", 200, self.found)
            self.suggest(minutes=61.0)
            refuses()
            self.api.answer("GET", "/v1/decisions/7", 200, records.decision(7))
            refuses()
            asked.assert_not_called()

    def test_what_became_of_a_move_is_said_by_code(self) -> None:
        why = [{"code": "cloud_refuses", "values": {}}, {"code": "other", "values": {"text": "locked"}}]
        self.lists("decisions", records.decision(kind="relief", move=sla_records.move(state="failed", why=why)))
        self.assert_shows(self.text(DECISIONS, state="failed"), "Nova refuses: locked")
        self.assertEqual(self.api.asked[-1][2]["state"], "failed")


class OverviewTest(OperatorCase):
    """The overview."""

    def test_five_requests_show_everything(self) -> None:
        self.fill()
        self.lists("hosts", records.host(open_violations=3))
        text = self.text(OVERVIEW)
        shown = (
            "1 of the 14 instances with a service level is in trouble.",
            "1 host is silent.",
            "16 cores",
            "48 cores",
        )
        self.assert_shows(
            text,
            *shown,
            "50.00 %",
            "compute-1",
            "greedy",
            "50 % of CPU are needed for it and the host has 10 % left to guarantee",
            "Enforce: 2",
        )
        paths = ["/v1/summary", "/v1/hosts", "/v1/hosts", "/v1/violations", "/v1/decisions"]
        self.assertEqual([path for _, path in self.asked], paths)
        self.assertEqual(self.api.asked[1][2], {"sort": "open_violations:desc", "limit": "6"})

    def test_an_empty_cloud(self) -> None:
        for name in ("hosts", "violations", "decisions"):
            self.lists(name)
        none = dict.fromkeys(("troubled", "pending", "guaranteed", "best_effort"), 0)
        hosts = {"total": 0, "silent": 0, "modes": {}}
        hosts |= dict.fromkeys(("capacity_cpu_cores", "reserved_cpu_cores", "free_cpu_cores"), 0.0)
        self.api.answer("GET", "/v1/summary", 200, records.summary(instances=none, open_violations=0, hosts=hosts))
        text = self.text(OVERVIEW)
        self.assert_shows(
            text, "Nothing is guaranteed", "No host has", "No host enforces", "No violation is open", "Nothing was"
        )


class AnyPageTest(OperatorCase):
    """What holds for all of them."""

    def test_names_are_text(self) -> None:
        for name in HOSTILE:
            self.fill()
            self.lists("violations", records.violation(name=name, offender_name=name, project_id=name, cause=name))
            told = {"hosts": {name: name}, name: {name: [name]}, "objectives": {name: {"floor": 1.0}}}
            self.lists("decisions", records.decision(name=name, reason=name, detail=told, user_id=name, kind=name))
            self.lists("hosts", records.host(versions={"xgos": name}, capabilities={name: name}, agent=name))
            self.api.answer("GET", "/v1/hosts/compute-1", 200, records.host(capabilities={name: name}, agent=name))
            objective = {"metric": "cpu", "usage": 0.2, "demand": None, "status": name, "cause": name}
            named = records.offences(2, missed_seconds=9.0)
            named["victims"][0]["name"] = name
            held = records.held(1, name=name, project_id=name, objectives=[objective], offences=named, state=name)
            self.api.answer("GET", "/v1/hosts/compute-1/explanation", 200, records.explanation(held))
            for address in ALL:
                text = self.text(address)
                for bad in ("<script>alert", "<img src=x", "{$ 7"):
                    self.assertNotIn(bad, text, address)

    def test_down_is_said_and_costs_no_time_after_that(self) -> None:
        self.sign_in("admin", "member", "reader", endpoint="http://127.0.0.1:9")
        for address in (*ALL, MODE):
            self.assertIn("Stella&#x27;s API does not answer.", self.text(address))

    def test_a_slow_api_is_asked_once(self) -> None:
        self.fill()
        self.api.delay_seconds = 5.0
        self.assertIn("does not answer", self.text(OVERVIEW))
        self.assertIn("does not answer", self.text(HOSTS))
        self.assertEqual(len(self.api.asked), 1)

    def test_members_do_not_get_in_and_nothing_is_asked_for_them(self) -> None:
        self.fill()
        self.sign_in("member", "reader")
        for address in (*ALL, MODE):
            page = self.client.get(address)
            self.assertIn(page.status_code, (302, 403), address)
        self.assertEqual(self.api.asked, [])

    def test_no_page_tells_the_token(self) -> None:
        self.fill()
        for address in ALL:
            self.assertNotIn(self.token.id, self.text(address))


class DetailTest(SimpleTestCase):
    """The detail of a decision as rows."""

    def test_rows(self) -> None:
        found = operators.detail(
            {
                "objectives": {"cpu": {"floor": 0.2}},
                "largest": {"network_packets": 14_000.0},
                "hosts": {"compute-1": "full"},
                "short": {"CUSTOM_STELLA_CPU": 3},
                "freed_cpu_cores": 0.5,
                "instance": None,
                "vcpus": 2,
                "later": {"a": [1]},
            }
        )
        self.assertEqual(
            [(label, value.replace("\xa0", " ")) for label, value in found],
            [
                ("Service level", "CPU: at least 20 %"),
                ("The most that fits", "Network packets: 14 kpps"),
                ("compute-1", "full"),
                ("Short by", "CUSTOM_STELLA_CPU: 3"),
                ("CPU that became free", "50 %"),
                ("vCPUs", "2"),
                ("later", '{"a": [1]}'),
            ],
        )

    def test_very_many_are_cut(self) -> None:
        found = operators.detail({"hosts": {f"compute-{number}": "full" for number in range(100)}})
        self.assertEqual((len(found), found[-1][1]), (41, "60 more"))
