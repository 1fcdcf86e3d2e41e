"""SLAs in a browser: the error budget, classes, what does not count, the report, one violation."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from stella.cmd import stella_manage
from tests.browser import contract
from tests.browser.pages import PANEL, Panel
from tests.browser.site import SIZE, Project, Site
from tests.browser.stella import always
from tests.browser.watching import Watch

english = pytest.mark.parametrize("language", ["en"], indirect=True)
_NARROW = {"width": 420, "height": 900}


@pytest.fixture
def roles() -> tuple[str, ...]:
    """An operator, who is a member of the project too."""
    return ("member", "admin")


def name_of(project: Project) -> str:
    """Of its class: the API is shared by all tests."""
    return f"gold-{project.name}"


def test_the_error_budget_of_an_instance_with_its_burn_line(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    worse = project.instance("worse", course=lambda metric, at: "missed" if at % 300 < 60 else "met")
    better = project.instance("better")
    contract.put_under(project, name_of(project))
    for uuid in (better, worse):
        project.set(uuid, cpu=0.2)
        contract.report_past(project, uuid, cpu=0.2)
    panel.open_detail(worse)
    page, budget = panel.page, panel.page.locator("#stella-budget")
    expect(budget.locator(".stella-verdict")).to_contain_text(name_of(project))
    expect(budget.locator("canvas").first).to_be_visible()
    expect(budget).to_contain_text("EUR")
    reading = budget.locator("[data-stella-reading]")
    budget.locator("[data-stella-chart]").focus()
    page.keyboard.press("End")
    expect(reading).to_contain_text(panel.words("Even burn"))
    last = reading.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(reading).not_to_have_text(last)
    table = budget.locator("details.stella-data")
    table.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(table.locator("tbody tr")).to_have_count(31)
    watch.require_accessible(".stella")
    with page.expect_download() as download:
        budget.get_by_role("link", name=panel.words("Download as CSV")).click()
    kept = download.value.path().read_text().splitlines()
    assert kept[0] == "time,metric,used_seconds,even_burn_seconds"
    assert kept[-1].endswith(",360,90.0")
    panel.open("?sort=budget")
    assert panel.rows() == ["worse", "better"]
    expect(panel.row(worse)).to_contain_text(name_of(project))
    expect(page.locator(".table_search input").first).to_have_attribute("aria-label", re.compile(r"\S"))
    watch.require_accessible(".stella")
    panel.goto_answered("/project/error_budgets/?sort=left_ratio")
    assert panel.rows() == ["worse", "better"]
    expect(page.locator("tbody tr").first).to_contain_text(panel.words("target missed"))
    watch.require_accessible(".stella")
    watch.require_clean(known_reports=known_reports)


@english
def test_a_class_is_made_attached_changed_and_deleted(
    panel: Panel, project: Project, site: Site, watch: Watch, known_reports: frozenset[str]
) -> None:
    name, admin = name_of(project), site.stella.cloud.admin
    panel.goto_answered("/admin/stella_slas/")
    panel.page.get_by_role("link", name="Create SLA Class").click()
    expect(panel.dialog.locator("form")).to_be_visible()
    watch.require_accessible(".modal-dialog form")
    given = {"name": name, "target": "99.9 %", "price": "49.90 EUR", "below-0": "99.9 %", "credit-0": "10"}
    given |= {"cpu-limit": "30 % + 10 %/vcpu", "cpu-default": "25 %"}
    for field, text in given.items():
        panel.field(field).fill(text)
    panel.dialog.locator("input[type=submit]").click()
    expect(panel.error("credit-0")).to_contain_text("such as 99.9 %")
    panel.field("credit-0").fill("10 %")
    panel.submit()
    panel.expect_message("The SLA class is made. Attach it to what it is to count for.")
    (made,) = admin.get(f"/v1/slas?name={name}").json["slas"]
    assert made["objectives"] == {"cpu": {"limit": {"base": 0.3, "per_vcpu": 0.1}, "default": {"base": 0.25}}}
    assert made["terms"]["credits"] == [{"below_ratio": "0.999", "credit_ratio": "0.1"}]

    panel.goto_answered(f"/admin/stella_slas/{made['uuid']}/")
    watch.require_accessible(".stella")
    panel.page.get_by_role("link", name="Attach", exact=True).click()
    panel.field("scope").select_option("flavor")
    panel.field("target").fill("m1.large")
    panel.submit()
    panel.page.locator("tr", has_text="m1.large").get_by_role("link", name="Detach").click()
    panel.submit()
    expect(panel.page.locator("tbody tr")).to_have_count(0)
    attached = {"scope": "project", "target": project.name}
    assert admin.ask("POST", f"/v1/slas/{made['uuid']}/attachments", json=attached).status_code == 201
    panel.page.get_by_role("link", name="Change", exact=True).click()
    panel.field("target").fill("99.95 %")
    panel.submit()
    expect(panel.page.locator(".stella").first).to_contain_text("99.95 %")
    panel.page.get_by_role("link", name="Delete", exact=True).click()
    panel.dialog.locator("input[type=submit]").click()
    expect(panel.dialog.locator(".has-error")).to_contain_text("is attached")
    panel.field("detach").check()
    panel.submit()
    assert admin.get(f"/v1/slas?name={name}").json["slas"] == []
    watch.require_clean(known_reports=known_reports)


@english
def test_a_class_is_a_template_of_the_form_and_its_limits_count(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    uuid, name = project.instance("web"), name_of(project)
    sla = contract.make(project, name, objectives={"cpu": {"limit": "40%", "default": "25%"}})
    panel.open()
    panel.open_form(uuid)
    panel.dialog.locator("[data-stella-offers]").select_option(sla)
    expect(panel.field("cpu-floor")).to_have_value(re.compile(r"25\s%"))
    expect(panel.answer).to_have_class(re.compile("alert-success"))
    watch.require_accessible(".modal-dialog form")
    panel.submit()
    panel.expect_status(uuid, "cpu", "Met")
    assert project.user.get(f"/v1/instances/{uuid}/budget").json["sla"]["name"] == name
    panel.open_form(uuid)
    expect(panel.dialog.locator(".stella-offers")).to_contain_text(f"SLA class {name} counts for it.")
    panel.field("cpu-floor").fill("90 %")
    expect(panel.answer).to_contain_text("does not allow this")
    panel.page.keyboard.press("Escape")
    expect(panel.dialog).to_have_count(0)

    watch.require_clean(known_reports=known_reports)


def _exclude(panel: Panel, project: Project, watch: Watch, now: datetime) -> Locator:
    """Exclude ten minutes of the project; the row in the list."""
    panel.goto_answered("/admin/stella_exclusions/")
    panel.page.get_by_role("link", name=panel.words("Create Exclusion")).click()
    expect(panel.dialog.locator("form")).to_be_visible()
    watch.require_accessible(".modal-dialog form")
    panel.field("scope").select_option("project")
    panel.field("target").fill(project.name)
    panel.field("start").fill((now - timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M"))
    panel.field("until").fill((now - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M"))
    panel.field("reason").fill("new kernel <b>")
    panel.submit()
    row = panel.page.locator("tbody tr", has_text=re.compile(rf"\b{project.name}\b"))
    expect(row).to_contain_text("new kernel <b>")
    watch.require_accessible(".stella")
    return row


def _correct(panel: Panel, sla: str, uuid: str, now: datetime) -> None:
    """Correct a minute."""
    panel.page.locator(".stella-healths").get_by_role("link", name=panel.words("Corrections")).click()
    panel.page.get_by_role("link", name=panel.words("Create Correction")).click()
    panel.field("sla").select_option(sla)
    panel.field("period").fill(f"{now:%Y-%m}")
    panel.field("uuid").fill(uuid)
    panel.field("seconds").fill("60")
    panel.field("reason").fill("our sensor")
    panel.submit()
    expect(panel.page.locator("tbody tr", has_text=uuid)).to_contain_text("our sensor")


@pytest.mark.quick_in("en")
def test_a_month_with_what_was_excluded_and_corrected_is_reported_printed_and_checked(
    panel: Panel,
    project: Project,
    watch: Watch,
    known_reports: frozenset[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uuid, words, page = project.instance("web", course=always("missed")), panel.words, panel.page
    sla = contract.put_under(project, name_of(project))
    project.set(uuid, cpu=0.2)
    contract.report_past(project, uuid, cpu=0.2)
    now = datetime.now(UTC)
    row = _exclude(panel, project, watch, now)
    _correct(panel, sla, uuid, now)

    panel.goto_answered(f"/project/sla_reports/{sla}/")
    expect(page.locator("[data-stella-report] tbody tr")).to_have_count(1)
    expect(page.locator(".stella-report")).to_contain_text("new kernel <b>")
    expect(page.locator(".stella-report")).to_contain_text("our sensor")
    watch.require_accessible(".stella")
    digest = page.locator(".stella-digest").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name=words("Download as JSON")).click()
    kept = tmp_path / download.value.suggested_filename
    download.value.save_as(kept)
    assert page.locator("pre").inner_text() == f"stella-manage sla recompute {kept.name}"
    assert stella_manage.main(["sla", "recompute", str(kept)]) == 0
    assert "bit for bit" in capsys.readouterr().out
    assert len(digest) == 64
    page.evaluate("window.print = () => { window.printed = true; }")
    page.locator("[data-stella-print]").click()
    assert page.evaluate("window.printed") is True
    page.emulate_media(media="print")
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(page.locator("[data-stella-print]")).to_be_hidden()
    expect(page.locator("[data-stella-report]")).to_be_visible()
    page.emulate_media(media="screen")
    page.locator("#stella-period").select_option(f"{now:%Y-%m}")
    page.locator(".stella-filters input[type=submit]").click()
    expect(page).to_have_url(re.compile(rf"period={now:%Y-%m}"))

    panel.goto_answered("/admin/stella_exclusions/")
    row.get_by_role("link", name=words("Withdraw"), exact=True).click()
    panel.field("reason").fill("put off")
    panel.submit()
    expect(row).to_contain_text("put off")
    expect(row.locator(".actions_column a")).to_have_count(0)
    watch.require_clean(known_reports=known_reports)


def test_a_violation_minute_by_minute_with_offender_and_evidence_for_operators_alone(
    panel: Panel, project: Project, site: Site, watch: Watch, known_reports: frozenset[str]
) -> None:
    uuid, host = project.instance("db", course=always("missed")), project.host.agent.name
    project.set(uuid, cpu=0.2)
    project.wait_for_violation(uuid)
    contract.report_past(project, uuid, minutes=3, cpu=0.2)
    (number,) = [one["id"] for one in project.user.get(f"/v1/violations?uuid={uuid}").json["violations"]]
    panel.goto_answered("/project/service_levels_overview/")
    panel.page.locator(f'a[href$="/violations/{number}/"]').first.click()
    body = panel.page.locator(".stella").first
    expect(body).to_contain_text(host)
    expect(body).to_contain_text(panel.words("Offender"))
    panel.expect_points()
    watch.require_accessible(".stella")
    user = site.stella.cloud.user(f"plain-{project.name}", project.name, "member")
    plain = site.keystone.add(f"plain-{project.name}", project.name, ("member", "reader"), user.token)
    panel.sign_in_again(plain)
    panel.goto_answered(f"{PANEL}violations/{number}/")
    expect(body).to_contain_text(panel.words("too little CPU"))
    panel.expect_points()
    assert host not in body.inner_text() and panel.words("Offender") not in body.inner_text()
    watch.require_clean(known_reports=known_reports)


@english
def test_a_member_sees_what_concerns_the_project_and_is_offered_no_changes(
    panel: Panel, project: Project, site: Site
) -> None:
    uuid = project.instance("web")
    sla = contract.put_under(project, name_of(project))
    contract.make(project, f"silver-{project.name}")
    project.set(uuid, cpu=0.2)
    contract.report_past(project, uuid, cpu=0.2)
    for target, reason in ((project.name, "ours"), ("others", "not ours")):
        start = datetime.now(UTC).replace(second=0, microsecond=0)
        body = {"kind": "maintenance", "scope": "project", "target": target, "reason": reason}
        body |= {"start": start.isoformat(), "until": (start + timedelta(minutes=5)).isoformat()}
        assert site.stella.cloud.admin.ask("POST", "/v1/exclusions", json=body).status_code == 201
    user = site.stella.cloud.user(f"member-{project.name}", project.name, "member")
    panel.sign_in_again(site.keystone.add(f"member-{project.name}", project.name, ("member", "reader"), user.token))
    panel.goto_answered("/project/sla_reports/exclusions/")
    expect(panel.page.locator("tbody tr")).to_have_count(1)
    expect(panel.page.locator("tbody tr")).to_contain_text("ours")
    for path in ("exclusions/", "corrections/", "", f"{sla}/"):
        panel.goto_answered(f"/project/sla_reports/{path}")
        expect(panel.page.locator(".stella .ajax-modal")).to_have_count(0)
    expect(panel.page.locator("[data-stella-report] tbody tr")).to_have_count(1)
    panel.open()
    panel.open_form(uuid)
    offers = panel.dialog.locator("[data-stella-offers] option")
    expect(offers).to_have_count(2)
    expect(offers.nth(1)).to_have_text(f"{name_of(project)}: fill in what it offers")
    for path in ("stella_slas/", "stella_exclusions/", "stella_budgets/"):
        answer = panel.page.goto(f"{site.horizon.url}/admin/{path}")
        assert answer is not None and answer.status == 403


@english
def test_long_names_fit_also_on_narrow_screens(panel: Panel, project: Project, watch: Watch) -> None:
    uuid = project.instance("한국어 <b>" + "n" * 200, course=always("missed"))
    sla = contract.put_under(project, "s" * 200)
    project.set(uuid, cpu=0.2)
    contract.report_past(project, uuid, cpu=0.2)
    project.wait_for_violation(uuid)
    number = project.user.get(f"/v1/violations?uuid={uuid}").json["violations"][0]["id"]
    paths: tuple[str, ...] = (
        "/project/error_budgets/",
        f"{PANEL}{uuid}/",
        f"{PANEL}?sort=budget",
        f"{PANEL}violations/{number}/",
    )
    paths += ("/project/sla_reports/", f"/project/sla_reports/{sla}/", "/admin/stella_budgets/", "/admin/stella_slas/")
    for path in (*paths, f"/admin/stella_slas/{sla}/", f"/admin/stella_slas/{sla}/report/"):
        panel.goto_answered(path)
        for size in (SIZE, _NARROW):
            panel.page.set_viewport_size(size)
            too_wide = panel.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert too_wide <= 0, f"{path}: {too_wide} px too wide"
    watch.require_accessible(".stella")
