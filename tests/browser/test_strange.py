"""What a user does not do, and what does not answer: names, an API that hangs, others who change what one looks at."""

import time

import pytest
from playwright.sync_api import expect

from tests.browser.pages import AWAY, PANEL, Panel
from tests.browser.site import Project, Site
from tests.browser.watching import Watch

_NAMES = (
    "<img src=x onerror=alert(1)>",
    "</script><script>window.taken = 1</script>",
    "{{constructor.constructor('window.taken = 1')()}}",
    "한국어 서버 이름",
    "\N{ROCKET}\N{SKULL} emoji",
    "n" * 255,
    "\"quotes\" & 'apostrophes'",
)

english = pytest.mark.parametrize("language", ["en"], indirect=True)


@english
def test_names_are_text_and_nothing_else(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    uuids = [project.instance(name) for name in _NAMES]
    for uuid in uuids:
        project.set(uuid, cpu=0.05)
    panel.open()
    assert set(panel.rows()) == set(_NAMES)
    for name, uuid in list(zip(_NAMES, uuids, strict=True))[:3]:
        panel.open_form(uuid)
        expect(panel.dialog.locator(".stella-lead strong")).to_have_text(name)
        panel.page.keyboard.press("Escape")
        expect(panel.dialog).to_have_count(0)
        panel.open_detail(uuid)
        expect(panel.page.locator(".page-header, h1").first).to_contain_text(name)
        panel.open()
    assert panel.page.evaluate("window.taken") is None
    width = panel.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0, f"a long name makes the page {width} px too wide"
    watch.require_clean(known_reports=known_reports)


@english
def test_an_api_that_hangs_costs_two_seconds_and_what_was_shown_stays(
    panel: Panel, project: Project, site: Site, watch: Watch
) -> None:
    uuid = project.instance("web")
    project.set(uuid, cpu=0.2)
    panel.open()
    panel.expect_status(uuid, "cpu", "Met")
    site.stella.delay_seconds = 30.0
    try:
        expect(panel.page.locator("[data-stella-notice]")).to_contain_text("Stella does not answer", timeout=20_000)
        panel.expect_status(uuid, "cpu", "Met")
        began = time.monotonic()
        panel.goto(PANEL)
        expect(panel.page.locator(".stella .alert-warning")).to_have_text(AWAY)
        assert time.monotonic() - began < 6.0
        watch.require_accessible(".stella")
    finally:
        site.stella.delay_seconds = 0.0
    panel.open()
    assert panel.rows() == ["web"]


@english
def test_what_others_changed_meanwhile_is_not_overwritten(panel: Panel, project: Project) -> None:
    uuid = project.instance("web")
    project.set(uuid, cpu=0.2)
    panel.open()
    panel.open_form(uuid)
    changed = project.user.put_slo(uuid, {"cpu": {"floor": 0.3}}, generation=1)
    assert changed.status_code == 200, changed.text
    panel.field("cpu-floor").fill("40 %")
    panel.dialog.locator("input[type=submit]").click()
    expect(panel.dialog.locator(".alert-danger, .alert-warning").first).to_contain_text("Someone else changed")
    assert project.user.get(f"/v1/instances/{uuid}/slo").json["objectives"]["cpu"]["floor"] == 0.3


@english
def test_a_host_that_refuses_is_shown_with_its_reason(panel: Panel, project: Project) -> None:
    uuid = project.instance("web", refused="no free CPU")
    project.set(uuid, cpu=0.2)
    project.wait_until_enforced(uuid, state="refused")
    panel.open()
    expect(panel.row(uuid).locator(".stella-note")).to_contain_text("no free CPU")


@english
def test_a_reader_is_offered_no_changes(site: Site, panel: Panel, project: Project) -> None:
    uuid = project.instance("web")
    project.set(uuid, cpu=0.2)
    reader = site.stella.cloud.user("reader", project.name, "reader")
    assert reader.put_slo(uuid, {"cpu": {"floor": 0.3}}).status_code == 403
    panel.sign_in_again(site.keystone.add("reader", project.name, ("reader",), reader.token))
    panel.open()
    assert panel.rows() == ["web"]
    expect(panel.row(uuid).locator(".actions_column a")).to_have_count(0)
