"""The panels of operators and the overviews: they open, in both languages, and axe-core and the strict policy find nothing."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser import offences
from tests.browser.keystone import PASSWORD
from tests.browser.pages import Panel, sign_in
from tests.browser.site import SIZE, Project, Site
from tests.browser.stella import always
from tests.browser.watching import Watch

_PAGES = {
    "/project/service_levels_overview/": "db",
    "/admin/stella_overview/": "db",
    "/admin/stella_hosts/": "host",
    "/admin/stella_violations/": "db",
    "/admin/stella_decisions/": "db",
}
_NARROW = {"width": 420, "height": 900}


english = pytest.mark.parametrize("language", ["en"], indirect=True)


@pytest.fixture
def roles() -> tuple[str, ...]:
    """An operator, who is a member of the project too."""
    return ("member", "admin")


@pytest.mark.quick_in("en")
def test_each_page_opens_and_is_accessible(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    uuid = project.instance("db", course=always("missed"))
    project.set(uuid, cpu=0.2)
    project.wait_for_violation(uuid)
    for path, has in _PAGES.items():
        panel.goto_answered(path)
        expect(panel.page.locator(".stella").first).to_contain_text(has)
        watch.require_accessible(".stella")
        watch.require_clean(known_reports=known_reports)


@english
def test_long_names_fit_also_on_narrow_screens(panel: Panel, project: Project, watch: Watch) -> None:
    name = "한국어 <b>" + "n" * 200
    uuid = project.instance(name, course=always("missed"))
    project.set(uuid, cpu=0.2)
    project.wait_for_violation(uuid)
    for path in (*_PAGES, f"/admin/stella_hosts/{project.host.agent.name}/"):
        panel.goto(path)
        for size in (SIZE, _NARROW):
            panel.page.set_viewport_size(size)
            too_wide = panel.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert too_wide <= 0, f"{path}: {too_wide} px too wide"
        watch.require_accessible(".stella")
    expect(panel.page.get_by_role("link", name=name).first).to_be_visible()


@english
def test_the_server_sorts_and_filters(panel: Panel, project: Project) -> None:
    uuid, host = project.instance("db", course=always("missed")), project.host.agent.name
    project.set(uuid, cpu=0.2)
    project.wait_for_violation(uuid)
    assert project.user.put_slo(uuid, {"cpu": {"floor": 40}}, generation=1).status_code == 422
    page = panel.page
    panel.goto("/admin/stella_hosts/")
    page.locator("th a", has_text="Open violations").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Open violations")
    page.locator("#id_name_contains").fill(host)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"name_contains={host}&.*sort=open_violations"))
    assert all(host in name for name in page.locator("tbody .stella-name").all_inner_texts())
    page.locator("tr", has=page.get_by_role("link", name=host, exact=True)).locator(
        "a[href*=stella_violations]"
    ).click()
    expect(page.locator(".stella-timeline-open")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("too little CPU")
    panel.goto(f"/admin/stella_decisions/?kind=refusals&host={host}")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("summary").click()
    expect(page.locator(".stella-rows")).to_contain_text("40 cores")


@english
def test_the_mode_of_a_host_is_changed(panel: Panel, project: Project, watch: Watch, site: Site) -> None:
    panel.goto_answered("/admin/stella_hosts/")
    row = panel.page.locator("tr", has=panel.page.get_by_role("link", name=project.host.agent.name, exact=True))
    row.get_by_role("link", name=panel.words("Change Mode")).click()
    expect(panel.dialog.locator("form")).to_be_visible()
    watch.require_accessible(".modal-dialog form")
    panel.dialog.locator('input[type="radio"][value="observe"]').check()
    panel.field("confirmed").check()
    panel.submit()
    shown = site.stella.cloud.admin.get(f"/v1/hosts/{project.host.agent.name}")
    assert shown.json["mode"] == "observe"


@english
def test_an_instance_is_moved_where_what_was_asked_for_would_fit(
    panel: Panel, project: Project, site: Site, watch: Watch, known_reports: frozenset[str]
) -> None:
    other = site.stella.host("roomy", cpus=64)
    try:
        for number in range(4):
            project.set(project.instance(f"full-{number}"), cpu=0.65)
        uuid = project.instance("web")
        panel.open()
        panel.open_form(uuid)
        panel.field("cpu-floor").fill("70 %")
        expect(panel.answer).to_have_class(re.compile("alert-warning"))
        watch.require_accessible(".modal-dialog form")
        panel.answer.get_by_role("link", name="Move to host roomy").click()
        confirmation = panel.dialog.filter(has_text="Nova is asked to move")
        expect(confirmation).to_contain_text("roomy")
        assert not site.keystone.actions
        watch.require_accessible("#stella_move_form")
        confirmation.locator("input[type=submit]").click()
        panel.expect_message(
            "Nova was asked to move %(name)s to %(host)s. Set the service level once it runs there.",
            name="web",
            host="roomy",
        )
        ((moved, asked),) = site.keystone.actions
        assert moved == uuid
        assert asked == {"os-migrateLive": {"host": "roomy", "block_migration": "auto"}}
        assert project.user.get(f"/v1/instances/{uuid}/slo").status_code == 404
        watch.require_clean(known_reports=known_reports)
    finally:
        site.stella.hosts.remove(other)
        site.keystone.actions.clear()


def test_a_host_tells_who_offends_and_from_whom_it_took(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    victim, hog = project.instance("db", course=always("missed")), project.instance("hog")
    project.set(victim, cpu=0.2)
    offences.use(project, hog, used_cores=1.6, entitled_cores=0.4)
    offences.offend(project, hog, victim, missed_seconds=90)
    project.wait_for_violation(victim)
    path = f"/admin/stella_hosts/{project.host.agent.name}/"
    panel.goto_answered(path)
    page, words = panel.page, panel.words
    row = page.get_by_role("table", name=words("Who offends")).locator("tbody tr")
    expect(row).to_have_count(1)
    for shown in ("hog", "1.6", "0.4", "1.2", "90", "db"):
        expect(row).to_contain_text(shown)
    held = page.get_by_role("table", name=words("Who holds what"))
    expect(held.locator("tbody .stella-name").first).to_have_text("hog")
    expect(held).to_contain_text(words("Best effort: nothing is guaranteed."))
    watch.require_accessible(".stella")
    page.get_by_role("link", name=words("All violations of this host, with their evidence")).click()
    over = page.locator("tbody tr", has=page.get_by_role("link", name="hog"))
    over.locator("a[href*=violations]").first.click()
    expect(page.locator(".stella-rows")).to_contain_text(words("CPU that the offender used"))
    watch.require_clean(known_reports=known_reports)


def test_a_suggested_move_is_taken_and_its_effect_is_shown(
    panel: Panel, project: Project, site: Site, watch: Watch, known_reports: frozenset[str]
) -> None:
    other = site.stella.host(f"{project.host.agent.name}-b", cpus=8)
    try:
        victim, hog = project.instance("db"), project.instance("hog")
        project.set(victim, cpu=0.2)
        number = offences.suggest(project, hog, other.agent.name, victim)
        page, words, path = panel.page, panel.words, f"/admin/stella_decisions/?kind=relief&project={project.name}"
        panel.goto_answered(path)
        row = page.locator("tbody tr")
        expect(row).to_contain_text(
            words("what another instance is guaranteed is missed on %(host)s", host=project.host.agent.name)
        )
        watch.require_accessible(".stella")
        row.get_by_role("link", name=words("Move", context="button"), exact=True).click()
        expect(panel.dialog).to_contain_text(other.agent.name)
        watch.require_accessible("#stella_suggested_move_form")
        assert not site.keystone.actions
        panel.submit()
        ((moved, asked),) = site.keystone.actions
        assert moved == hog
        assert asked == {"os-migrateLive": {"host": other.agent.name, "block_migration": "auto"}}
        site.stella.move(project.host, hog, other.agent.name)
        offences.follow(project)
        panel.goto_answered(path)
        expect(row).to_contain_text(words("moved"))
        expect(row.locator("a.btn")).to_have_count(0)
        offences.measure(project, number, effect=900.0)
        panel.goto_answered(path)
        expect(row.locator(".stella-number").last).to_contain_text("15")
        expect(row.locator(".stella-met")).to_have_text(words("helped"))
        watch.require_clean(known_reports=known_reports)
    finally:
        site.stella.hosts.remove(other)
        site.keystone.actions.clear()


@english
def test_a_member_has_no_panels_of_operators(site: Site, panel: Panel, project: Project) -> None:
    user = site.stella.cloud.user("plain", project.name, "member")
    account = site.keystone.add("plain", project.name, ("member", "reader"), user.token)
    panel.page.context.clear_cookies()
    sign_in(panel.page, site.horizon.url, account.name, PASSWORD)
    expect(panel.page.locator('a[href^="/admin/stella"]')).to_have_count(0)
    answer = panel.page.goto(f"{site.horizon.url}/admin/stella_hosts/")
    assert answer is not None and answer.status == 403
