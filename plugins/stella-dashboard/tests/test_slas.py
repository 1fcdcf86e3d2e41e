"""SLA classes, what they are attached to, exclusions, corrections, reports, violations, effects of moves."""

from datetime import UTC, datetime
from typing import Any
from unittest import mock

from django.urls import reverse
from stella_dashboard import access
from stella_dashboard.api.slas import Sla
from stella_dashboard.content.slas import rows

from tests import operator_records
from tests import sla_records as records
from tests.emulated_api import NOW, UUID, error
from tests.test_operators import DECISIONS, HOSTILE, OperatorCase, allow_all_but

SLA = f"/v1/slas/{records.SLA}"
INDEX, CREATE = (reverse(f"horizon:admin:stella_slas:{name}") for name in ("index", "create"))
DETAIL, CHANGE, DELETE, ATTACH, REPORT = (
    reverse(f"horizon:admin:stella_slas:{name}", args=[records.SLA])
    for name in ("detail", "change", "delete", "attach", "report")
)
DETACH = reverse("horizon:admin:stella_slas:detach", args=[records.SLA, 7])
MINE, MY_EXCLUSIONS, MY_CORRECTIONS = (
    reverse(f"horizon:project:sla_reports:{name}") for name in ("index", "exclusions", "corrections")
)
MY_REPORT = reverse("horizon:project:sla_reports:report", args=[records.SLA])
EXCLUSIONS, EXCLUDE, CORRECTIONS, CORRECT = (
    reverse(f"horizon:admin:stella_exclusions:{name}") for name in ("index", "create", "corrections", "correct")
)
WITHDRAW, WITHDRAW_CORRECTION = (
    reverse(f"horizon:admin:stella_exclusions:{name}", args=[3]) for name in ("withdraw", "withdraw_correction")
)
VIOLATION = reverse("horizon:project:service_levels:violation", args=[1])
PAGES = (INDEX, DETAIL, REPORT, MINE, MY_EXCLUSIONS, MY_CORRECTIONS, MY_REPORT, EXCLUSIONS, CORRECTIONS, VIOLATION)
FORMS = {
    CREATE: access.SET_SLA,
    CHANGE: access.SET_SLA,
    DELETE: access.SET_SLA,
    ATTACH: access.ATTACH_SLA,
    DETACH: access.ATTACH_SLA,
    EXCLUDE: access.SET_EXCLUSION,
    WITHDRAW: access.SET_EXCLUSION,
    CORRECT: access.SET_CORRECTION,
    WITHDRAW_CORRECTION: access.SET_CORRECTION,
}


class SlaCase(OperatorCase):
    """One of each is there."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.fill_slas()

    def fill_slas(self, **more: Any) -> None:
        self.lists("slas", records.sla(**more))
        self.api.answer("GET", SLA, 200, records.sla(**more))
        self.api.answer("GET", f"{SLA}/attachments", 200, {"attachments": [records.attachment()], "links": []})
        self.api.answer("GET", f"{SLA}/report", 200, records.report())
        self.lists("exclusions", records.exclusion())
        self.lists("corrections", records.correction())
        self.api.answer("GET", "/v1/violations/1", 200, records.shown_violation())

    def sent(self, method: str) -> list[tuple[str, dict[str, str], Any]]:
        return [(path, query, body) for asked, path, query, body, _ in self.api.asked if asked == method]


class ClassesTest(SlaCase):
    """Operators' panel."""

    def test_the_list_shows_the_terms(self) -> None:
        text = self.text(INDEX)
        self.assert_shows(text, "gold", "99.9 %", "below 99.9 %: 10 %", "below 99 %: 25 %", "49.90 EUR", "Asia/Seoul")
        self.assert_shows(text, "Network packets: at most 1 kpps + 5 kpps/vcpu, offers 1 kpps", DETAIL, CHANGE, DELETE)
        self.assertEqual(self.asked, [("GET", "/v1/slas")])

    def test_a_class_without_anything(self) -> None:
        bare = {"attainment_target_ratio": "0.95", "unknown": "ignored", "credits": [], "price": None}
        self.fill_slas(terms=bare, objectives={}, next_terms=records.TERMS, next_terms_from="2026-12-01T00:00:00Z")
        self.assert_shows(self.text(INDEX), "Everything, without limit", "New terms from 2026-12-01 00:00 on")
        self.assert_shows(self.text(DETAIL), "Do not count", "Terms from 2026-12-01 00:00 on", "99.9 %", "95 %")

    def test_its_page_says_what_it_is_attached_to(self) -> None:
        text = self.text(DETAIL)
        self.assert_shows(text, "Flavor", "m1.large", "ann", "Detach", "Attach", DETACH)
        self.assertEqual(self.asked, [("GET", SLA), ("GET", f"{SLA}/attachments")])
        self.api.answer("GET", SLA, *error("stella.request.not_found", 404, "x"))
        self.assert_shows(self.text(DETAIL), "Stella does not know this SLA class, or it is withdrawn.")

    def test_one_that_is_withdrawn_is_not_changed(self) -> None:
        self.fill_slas(withdrawn_at=NOW)
        text = self.text(DETAIL)
        self.assert_shows(text, "Withdrawn 2026-11-28 12:00")
        self.assertNotIn("ajax-modal", text[text.index('<div class="stella') :])

    def test_it_is_made_from_what_people_write(self) -> None:
        self.api.answer("POST", "/v1/slas", 201, records.sla())
        given = {
            "name": "gold",
            "time_zone": "Asia/Seoul",
            "target": "99.9 %",
            "unknown": "missed",
            "price": "49.90 eur",
            "below-0": "99.9 %",
            "credit-0": "10 %",
            "below-2": "99 %",
            "credit-2": "25 %",
            "cpu-allowed": "on",
            "network_packets-limit": "1 kpps + 5 kpps/vcpu",
            "network_packets-default": "1 kpps",
        }
        self.assertEqual(self.client.post(CREATE, given).status_code, 302)
        ((path, _, body),) = self.sent("POST")
        self.assertEqual(path, "/v1/slas")
        offers = {"cpu": {"limit": None, "default": None}, **records.OFFERS}
        told = {"name": "gold", "time_zone": "Asia/Seoul", "terms": records.TERMS, "objectives": offers}
        self.assertEqual(body, told)

    def test_what_is_wrong_stands_next_to_its_field(self) -> None:
        given = {
            "name": "a b",
            "time_zone": "UTC",
            "target": "0.999",
            "unknown": "missed",
            "price": "49",
            "below-0": "9 %",
        }
        form = self.client.post(CREATE, {**given, "cpu-limit": "fast"}).context["form"]
        self.assertEqual(set(form.errors), {"name", "target", "price", "cpu-limit"})
        form = self.client.post(CREATE, {**given, "name": "a", "target": "99 %", "price": ""}).context["form"]
        self.assertEqual(set(form.errors), {"credit-0"})
        self.assertEqual(self.sent("POST"), [])
        refused = error("stella.sla.invalid", 400, "time_zone: 'X' is not a time zone.", field="time_zone")
        self.api.answer("POST", "/v1/slas", *refused)
        page = self.client.post(CREATE, {"name": "a", "time_zone": "X", "target": "99 %", "unknown": "missed"})
        self.assertIn("is not a time zone", page.context["form"].errors["time_zone"][0])
        given = {"name": "a", "time_zone": "UTC", "target": "99 %", "unknown": "missed"}
        for field, own in (
            ("terms.credits[1].below_ratio", "below-1"),
            ("terms.attainment_target_ratio", "target"),
            ("terms.price.amount", "price"),
            ("objectives.cpu.default", "cpu-default"),
            ("name", "name"),
        ):
            self.api.answer("POST", "/v1/slas", *error("stella.sla.invalid", 400, f"{field}: no.", field=field))
            self.assertEqual(list(self.client.post(CREATE, given).context["form"].errors), [own])

    def test_only_what_was_changed_is_sent(self) -> None:
        odd = {"network_packets": {"limit": {"base": 12_345.6}, "default": None}}
        self.fill_slas(objectives=odd)
        self.api.answer("PATCH", SLA, 200, records.sla())
        shown = self.client.get(CHANGE).context["form"]
        given = {name: value for name in shown.fields if (value := shown[name].value()) not in (None, False)}
        self.assertEqual(given["network_packets-limit"].replace("\xa0", " "), "12.35 kpps")
        self.assertEqual(self.client.post(CHANGE, given).status_code, 302)
        self.assertEqual(self.sent("PATCH"), [])
        self.client.post(CHANGE, {**given, "target": "99.95 %"})
        ((_, _, body),) = self.sent("PATCH")
        self.assertEqual(body, {"generation": 3, "terms": {**records.TERMS, "attainment_target_ratio": "0.9995"}})
        self.client.post(CHANGE, {**given, "name": "platinum", "cpu-allowed": "on"})
        body = self.sent("PATCH")[-1][2]
        self.assertEqual(set(body), {"generation", "name", "objectives"})
        self.assertEqual(body["objectives"], {**odd, "cpu": {"limit": None, "default": None}})

    def test_what_others_changed_meanwhile_is_not_overwritten(self) -> None:
        self.api.answer("PATCH", SLA, *error("stella.sla.generation_conflict", 409, "no"))
        given = {"name": "platinum", "target": "99.9 %", "unknown": "missed", "generation": "2"}
        self.assertContains(self.client.post(CHANGE, given), "Someone else changed this SLA class meanwhile.")

    def test_it_is_deleted_and_detached(self) -> None:
        self.api.answer("DELETE", SLA, *error("stella.sla.attached", 409, "It is attached.", field="detach"))
        page = self.client.post(DELETE, {})
        self.assertIn("detach", page.context["form"].errors)
        self.api.answer("DELETE", SLA, 204)
        self.assertRedirectsNoFollow(self.client.post(DELETE, {"detach": "on"}), INDEX)
        self.assertEqual([query for _, query, _ in self.sent("DELETE")], [{}, {"detach": "true"}])

    def test_it_is_attached_and_detached(self) -> None:
        self.api.answer("POST", f"{SLA}/attachments", 201, records.attachment())
        given = {"scope": "flavor", "target": " m1.large ", "replace": "on"}
        self.assertRedirectsNoFollow(self.client.post(ATTACH, given), DETAIL)
        self.assertEqual(self.sent("POST")[0][2], {"scope": "flavor", "target": "m1.large", "replace": True})
        self.api.answer("DELETE", f"{SLA}/attachments/7", 204)
        self.assertRedirectsNoFollow(self.client.post(DETACH, {}), DETAIL)
        self.assertEqual(self.sent("DELETE")[0][0], f"{SLA}/attachments/7")

    def test_months_since_it_was_made(self) -> None:
        made = mock.Mock(spec=Sla, time_zone="Asia/Seoul", created_at=datetime(2026, 9, 30, 16, tzinfo=UTC))
        self.assertEqual(rows.periods(made, datetime(2026, 11, 30, 15, tzinfo=UTC)), ["2026-12", "2026-11", "2026-10"])
        self.assertEqual(len(rows.periods(made, datetime(2036, 1, 1, tzinfo=UTC))), 36)


class ExclusionsTest(SlaCase):
    """What does not count, or counts otherwise."""

    def test_the_lists(self) -> None:
        self.lists(
            "exclusions",
            records.exclusion(2, start="2999-01-01T00:00:00Z", scope="all", target=None, kind="tenant"),
            records.exclusion(withdrawn_at=NOW, withdrawn_by="bob", withdrawn_reason="put off"),
        )
        text = self.text(EXCLUSIONS)
        self.assert_shows(text, "new kernel", "ann", "compute-1", "All instances", "The tenant")
        self.assert_shows(text, "Withdrawn 2026-11-28 12:00 by bob: put off", "Create Exclusion")
        self.assert_shows(text, reverse("horizon:admin:stella_exclusions:withdraw", args=[2]))
        self.assertNotIn(reverse("horizon:admin:stella_exclusions:withdraw", args=[1]), text)
        text = self.text(CORRECTIONS, period="2026-11")
        self.assert_shows(text, "120 s: Violated → Met", UUID.format(1), "2026-11")
        self.assertEqual(self.api.asked[-1][2], {"period": "2026-11", "sort": "id:desc", "limit": "21"})

    def test_one_that_is_old_is_not_offered_to_be_withdrawn(self) -> None:
        self.lists("exclusions", records.exclusion(start="2020-01-01T00:00:00Z"))
        self.assertNotIn(reverse("horizon:admin:stella_exclusions:withdraw", args=[1]), self.text(EXCLUSIONS))

    def test_a_window_is_excluded_in_the_users_time(self) -> None:
        self.api.answer("POST", "/v1/exclusions", 201, records.exclusion())
        self.client.cookies["django_timezone"] = "Asia/Seoul"
        given = {"kind": "maintenance", "scope": "host", "target": "compute-1", "reason": "new kernel"}
        given |= {"start": "2026-11-24T11:00", "until": "2026-11-24T13:00"}
        self.assertRedirectsNoFollow(self.client.post(EXCLUDE, given), EXCLUSIONS)
        expected = {"kind": "maintenance", "scope": "host", "target": "compute-1", "reason": "new kernel"}
        expected |= {"start": "2026-11-24T02:00:00Z", "until": "2026-11-24T04:00:00Z"}
        self.assertEqual(self.sent("POST")[0][2], expected)
        self.client.post(EXCLUDE, {**given, "scope": "all", "target": ""})
        self.assertNotIn("target", self.sent("POST")[1][2])

    def test_what_is_wrong_with_a_window(self) -> None:
        given = {"kind": "maintenance", "scope": "host", "target": "", "reason": "x", "start": "", "until": "then"}
        form = self.client.post(EXCLUDE, given).context["form"]
        self.assertEqual(set(form.errors), {"target", "reason", "start", "until"})
        self.assertEqual(self.sent("POST"), [])
        self.api.answer("POST", "/v1/exclusions", *error("stella.request.invalid", 400, "start is old.", field="start"))
        given |= {"target": "compute-1", "reason": "why", "start": "2026-01-01T00:00", "until": "2026-01-01T01:00"}
        self.assertIn("start", self.client.post(EXCLUDE, given).context["form"].errors)

    def test_a_report_is_corrected(self) -> None:
        self.api.answer("POST", "/v1/corrections", 201, records.correction())
        given = {"sla": records.SLA, "period": "2026-11", "uuid": UUID.format(1), "metric": "cpu", "seconds": "120"}
        given |= {"source": "violated", "target": "violated", "reason": "sensor"}
        self.assertIn("target", self.client.post(CORRECT, given).context["form"].errors)
        self.assertRedirectsNoFollow(self.client.post(CORRECT, {**given, "target": "met"}), CORRECTIONS)
        expected = {**given, "target": "met", "seconds": 120}
        self.assertEqual(self.sent("POST")[0][2], expected)

    def test_they_are_withdrawn_with_a_reason(self) -> None:
        for address, path in ((WITHDRAW, "/v1/exclusions/3"), (WITHDRAW_CORRECTION, "/v1/corrections/3")):
            self.assertIn("reason", self.client.post(address, {"reason": ""}).context["form"].errors)
            self.api.answer("DELETE", path, *error("stella.request.conflict", 409, "It was withdrawn already."))
            self.assertContains(self.client.post(address, {"reason": "put off"}), "It is withdrawn already, or")
            self.api.answer("DELETE", path, 200, {})
            self.assertEqual(self.client.post(address, {"reason": "put off"}).status_code, 302)
            self.assertEqual(self.sent("DELETE")[-1][:2], (path, {"reason": "put off"}))

    def test_tenants_see_those_that_reach_them(self) -> None:
        self.sign_in("member", "reader")
        self.lists("exclusions", records.exclusion(target=None, start="2999-01-01T00:00:00Z"))
        text = self.text(MY_EXCLUSIONS)
        self.assert_shows(text, "new kernel", "Host")
        self.assertNotIn("Withdraw<", text)
        self.assertNotIn("Create Exclusion", text)
        self.assertEqual(self.api.asked[-1][2]["project"], self.tenant.id)
        self.assert_shows(self.text(MY_CORRECTIONS), "120 s: Violated → Met")
        self.assertEqual(self.api.asked[-1][2]["project"], self.tenant.id)


class ReportTest(SlaCase):
    """A month."""

    def test_what_was_met_and_what_is_owed(self) -> None:
        text = self.text(MY_REPORT, period="2026-10")
        self.assert_shows(text, "99.8263 %", "99.1666 %", "99.5 %", "10 s", "5 s", "3 min", "10 %: 4.99 EUR", "web-1")
        self.assert_shows(text, "What was measured is settled.", "new kernel", "another instance", "d" * 64)
        self.assert_shows(
            text, f"stella-manage sla recompute sla-{records.SLA}-2026-10.json", 'value="2026-10" selected'
        )
        self.assertEqual(self.asked, [("GET", SLA), ("GET", f"{SLA}/report")])
        self.assertEqual(self.api.asked[-1][2], {"period": "2026-10", "project": self.tenant.id})

    def test_operators_see_all_or_one_project(self) -> None:
        text = self.text(REPORT, period="nonsense")
        self.assertEqual(self.api.asked[-1][2], {})
        self.assert_shows(text, "p1", f"{REPORT[:-1]}.csv?period=2026-10".replace("&", "&amp;"))
        self.text(REPORT, project="p1")
        self.assertEqual(self.api.asked[-1][2], {"project": "p1"})

    def test_files_are_as_the_api_tells_them(self) -> None:
        kept = records.report()
        self.api.answer("GET", f"{SLA}/report", 200, kept)
        for namespace, project in (("project:sla_reports", self.tenant.id), ("admin:stella_slas", None)):
            address = reverse(f"horizon:{namespace}:file", args=[records.SLA, "json"])
            answer = self.client.get(address, {"period": "2026-10"})
            self.assertEqual(answer.json(), kept)
            self.assertEqual(answer["Content-Disposition"], f'attachment; filename="sla-{records.SLA}-2026-10.json"')
            expected = {"period": "2026-10", "format": "json"} | ({"project": project} if project else {})
            self.assertEqual(self.api.asked[-1][2], expected)
        for format, status in (("csv", 200), ("exe", 404)):
            address = reverse("horizon:project:sla_reports:file", args=[records.SLA, format])
            self.assertEqual(self.client.get(address).status_code, status)

    def test_what_is_not_to_be_had(self) -> None:
        refused = error("stella.request.invalid", 400, "period: 2030-01 has not begun yet.", field="period")
        self.api.answer("GET", f"{SLA}/report", *refused)
        text = self.text(MY_REPORT, period="2030-01")
        self.assert_shows(text, "has not begun yet", 'name="period"')
        self.assertNotIn("data-stella-print", text)
        address = reverse("horizon:project:sla_reports:file", args=[records.SLA, "csv"])
        self.assertEqual(self.client.get(address).status_code, 503)

    def test_a_report_may_take_longer_than_a_page(self) -> None:
        self.api.delay_seconds = 1.2
        self.assert_shows(self.text(MY_REPORT), "99.8263 %")


class ViolationTest(SlaCase):
    """The page of one."""

    def test_operators_see_the_offender_with_the_evidence(self) -> None:
        text = self.text(VIOLATION)
        self.assert_shows(
            text, "Network packets of web-1 was missed for 60 s.", "too little CPU", "greedy", "compute-1"
        )
        self.assert_shows(text, "1.75 cores", "50 %", "13 kpps", "20 kpps", "later figure bytes", "40 s")
        chart = self.client.get(VIOLATION).context["chart"]
        self.assertEqual(chart["columns"]["status"], ["MET", "VIOLATED"])
        self.assertEqual((chart["step"], chart["seconds"]), (60, 120.0))
        self.assertEqual(self.asked[0], ("GET", "/v1/violations/1"))

    def test_tenants_see_the_cause_alone(self) -> None:
        self.sign_in("member", "reader")
        self.api.answer("GET", "/v1/violations/1", 200, records.shown_violation(for_operator=False))
        text = self.text(VIOLATION)
        self.assert_shows(text, "too little CPU", "13 kpps")
        for hidden in ("compute-1", "greedy", "Offender", "entitled"):
            self.assertNotIn(hidden, text[text.index('<div class="stella') :])

    def test_one_without_minutes_that_lasts(self) -> None:
        told = records.shown_violation(closed_at=None, timeline=[], parts=[], missed_seconds=None)
        self.api.answer("GET", "/v1/violations/1", 200, told)
        self.assert_shows(self.text(VIOLATION), "is missed, for", "Its minutes are not kept any more.")

    def test_one_that_is_not_there(self) -> None:
        self.api.answer("GET", "/v1/violations/1", *error("stella.request.not_found", 404, "x"))
        self.assert_shows(self.text(VIOLATION), "Stella does not know this violation.")

    def test_lists_lead_there(self) -> None:
        self.assert_shows(self.text(reverse("horizon:admin:stella_violations:index")), VIOLATION)


class MovesTest(SlaCase):
    """Effects of relief, where an API tells of them."""

    def test_predicted_and_measured(self) -> None:
        self.lists(
            "decisions",
            operator_records.decision(1, kind="relief", move=records.move()),
            operator_records.decision(2, move=None),
            operator_records.decision(
                3,
                kind="relief",
                move=records.move(
                    state="failed", measured_effect_seconds_per_hour=-90.0, helped=False, reason="no valid host"
                ),
            ),
        )
        text = self.text(DECISIONS)
        self.assert_shows(text, "Predicted effect", "Measured effect", "20 min an hour", "15 min an hour", "helped")
        self.assert_shows(text, "\N{MINUS SIGN}90 s an hour", "did not help", "no valid host", "0.8 cores", "compute-2")
        self.assert_shows(text, UUID.format(5))

    def test_there_are_no_columns_without_moves(self) -> None:
        self.lists("decisions", operator_records.decision())
        self.assertNotIn("Predicted effect", self.text(DECISIONS))


class EveryPageTest(SlaCase):
    """What holds for all of them."""

    def test_names_are_text(self) -> None:
        for name in HOSTILE:
            terms = {**records.TERMS, "unknown": name, "price": {"amount": "1", "currency": name}}
            self.fill_slas(name=name, time_zone=name, terms=terms)
            written = {
                "reason": name,
                "author": name,
                "withdrawn_at": NOW,
                "withdrawn_by": name,
                "withdrawn_reason": name,
            }
            excluded = records.exclusion(**written, target=name, kind=name)
            corrected = records.correction(**written, source=name, metric=name)
            self.lists("exclusions", excluded)
            self.lists("corrections", corrected)
            rollups = [{"uuid": UUID.format(1), "name": name, "project_id": name, "metric": "cpu"}]
            report = records.report(exclusions=[excluded], corrections=[corrected], rollups=rollups, sha256=name)
            self.api.answer("GET", f"{SLA}/report", 200, report)
            attached = {"attachments": [records.attachment(target=name)], "links": []}
            self.api.answer("GET", f"{SLA}/attachments", 200, attached)
            self.api.answer("GET", "/v1/violations/1", 200, records.shown_violation(name=name, offender_name=name))
            for address in (*PAGES, *FORMS):
                text = self.text(address)
                for bad in ("<script>alert", "<img src=x", "{$ 7"):
                    self.assertNotIn(bad, text, address)

    def test_down_is_said(self) -> None:
        self.sign_in("admin", "member", "reader", endpoint="http://127.0.0.1:9")
        for address in PAGES:
            self.assertIn("Stella&#x27;s API does not answer.", self.text(address), address)

    def test_what_is_forbidden_is_neither_offered_nor_asked(self) -> None:
        opens = {CREATE: INDEX, CHANGE: INDEX, DELETE: INDEX, ATTACH: DETAIL, DETACH: DETAIL, EXCLUDE: EXCLUSIONS}
        opens |= {CORRECT: CORRECTIONS}
        for address, rule in FORMS.items():
            with mock.patch("openstack_auth.policy.check", allow_all_but(rule)):
                before = len(self.api.asked)
                self.assert_shows(self.text(address), "Your roles do not allow this.")
                self.client.post(address, {"reason": "put off", "name": "gold", "target": "x", "scope": "flavor"})
                self.assertEqual(len(self.api.asked), before, address)
                if address in opens:
                    self.assertNotIn(address, self.text(opens[address]))

    def test_members_do_not_get_into_the_panels_of_operators(self) -> None:
        self.sign_in("member", "reader")
        for address in (INDEX, DETAIL, REPORT, EXCLUSIONS, CORRECTIONS, *FORMS):
            self.assertIn(self.client.get(address).status_code, (302, 403), address)
        self.assertEqual(self.api.asked, [])
