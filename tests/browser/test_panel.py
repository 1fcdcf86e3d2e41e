"""Each action of the project panel, in a browser, in both languages."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.pages import Panel
from tests.browser.site import Project
from tests.browser.stella import always
from tests.browser.watching import Watch


@pytest.mark.quick_in("en")
def test_the_troubled_come_first_and_the_list_is_filtered_on_the_server(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    quiet = project.instance("a-quiet", course=always("idle"))
    kept = project.instance("b-kept")
    missed = project.instance("c-missed", course=always("missed"))
    project.set(kept, cpu=0.2)
    project.set(missed, cpu=0.2, network_packets=2000)
    project.wait_for_violation(missed)
    panel.open()
    assert panel.rows() == ["c-missed", "b-kept", "a-quiet"]
    panel.expect_status(missed, "cpu", "Violated")
    panel.expect_status(kept, "cpu", "Met")
    expect(panel.cell(missed, "cpu-status")).to_contain_text(panel.words("too little CPU"))
    expect(panel.cell(quiet, "none")).to_have_text(panel.words("Best effort: nothing is guaranteed."))
    watch.require_accessible(".stella")
    panel.only("In trouble")
    assert panel.rows() == ["c-missed"]
    panel.only("Best effort")
    assert panel.rows() == ["a-quiet"]
    panel.only("All")
    panel.search("KEPT")
    expect(panel.page.locator(".stella-name")).to_have_count(1)
    assert panel.rows() == ["b-kept"]
    watch.require_clean(known_reports=known_reports)


@pytest.mark.quick_in("en", "ko")
def test_an_slo_is_set_with_the_answer_before_and_the_counter_offer_and_is_removed(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    uuid = project.instance("web")
    panel.open()
    panel.open_form(uuid)
    watch.require_accessible(".modal-dialog form")
    panel.field("cpu-floor").fill("20")
    expect(panel.error("cpu-floor")).not_to_be_empty()
    panel.field("cpu-floor").fill("20 %")
    expect(panel.answer).to_have_class(re.compile("alert-success"))
    expect(panel.error("cpu-floor")).to_be_empty()
    panel.field("network_packets-floor").fill("200 kpps")
    expect(panel.answer).to_have_class(re.compile("alert-warning"))
    watch.require_accessible(".modal-dialog form")
    assert project.user.get(f"/v1/instances/{uuid}/slo").status_code == 404, "nothing was set by asking"
    panel.take("network_packets-floor")
    expect(panel.field("network_packets-floor")).not_to_have_value("200 kpps")
    expect(panel.field("network_packets-floor")).to_be_focused()
    expect(panel.answer).to_have_class(re.compile("alert-success"))
    panel.submit()
    panel.expect_message("The service level of %(name)s is set. Its host takes it on now.", name="web")
    panel.expect_status(uuid, "cpu", "Met")
    set_floor = project.user.get(f"/v1/instances/{uuid}/slo").json["objectives"]["network_packets"]["floor"]
    assert 1000 < set_floor < 200_000

    panel.choose(uuid, "Remove Service Level")
    expect(panel.dialog.locator("li")).to_have_count(2)
    watch.require_accessible(".modal-dialog form")
    panel.dialog.locator("a.cancel").click()
    expect(panel.dialog).to_have_count(0)
    assert project.user.get(f"/v1/instances/{uuid}/slo").status_code == 200, "it was only asked"
    panel.choose(uuid, "Remove Service Level")
    panel.submit()
    panel.expect_message("%(name)s is best effort now.", name="web")
    expect(panel.cell(uuid, "none")).to_be_visible()
    watch.require_clean(known_reports=known_reports)


@pytest.mark.quick_in("en")
def test_the_page_of_an_instance_shows_each_objective_over_time_and_is_used_by_keyboard(
    panel: Panel, project: Project, watch: Watch, known_reports: frozenset[str]
) -> None:
    uuid = project.instance("web", course=lambda metric, at: "missed" if at % 300 < 26 else "met")
    project.set(uuid, cpu=0.2, network_packets=2000)
    project.wait_until_enforced(uuid)
    panel.open_detail(uuid)
    expect(panel.page.locator(".stella-verdict")).not_to_be_empty()
    charts = panel.page.locator("[data-stella-chart]")
    expect(charts).to_have_count(2)
    expect(charts.first.locator("canvas")).to_be_visible()
    panel.expect_points()
    reading = panel.page.locator("[data-stella-reading]").first
    charts.first.focus()
    panel.page.keyboard.press("End")
    expect(reading).to_contain_text(panel.words("Usage"))
    last = reading.inner_text()
    panel.page.keyboard.press("ArrowLeft")
    expect(reading).not_to_have_text(last)
    table = panel.page.locator("details.stella-data").first
    table.locator("summary").focus()
    panel.page.keyboard.press("Enter")
    expect(table.locator("tbody tr").first).to_be_visible()
    watch.require_accessible(".stella")
    day = panel.page.locator('[data-stella-span="24h"]')
    day.focus()
    panel.page.keyboard.press("Space")
    expect(day).to_have_attribute("aria-pressed", "true")
    with panel.page.expect_download() as download:
        panel.page.locator("[data-stella-download]").click()
    assert download.value.path().read_text().startswith("time,metric,unit,")
    watch.require_clean(known_reports=known_reports)


def test_a_form_is_filled_in_sent_and_left_by_keyboard_alone(panel: Panel, project: Project) -> None:
    uuid = project.instance("web")
    panel.open()
    press = panel.page.keyboard.press
    panel.focus_action(uuid)
    press("Enter")
    expect(panel.dialog.locator("form.stella-form")).to_be_visible()
    press("Escape")
    expect(panel.dialog).to_have_count(0)
    panel.focus_action(uuid)
    press("Enter")
    expect(panel.dialog.locator("form.stella-form")).to_be_visible()
    for _ in range(12):
        if panel.focused_field() == "cpu-floor":
            break
        press("Tab")
    panel.page.keyboard.type("30 %")
    expect(panel.answer).to_have_class(re.compile("alert-success"))
    press("Enter")
    expect(panel.dialog).to_have_count(0)
    panel.expect_status(uuid, "cpu", "Met")
