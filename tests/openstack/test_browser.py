"""A member in a browser before the Horizon of the real cloud: the panel, Horizon's own list of instances, the page of a server."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.pages import PANEL, Panel, sign_in
from tests.browser.site import LOCALES, SIZE, chromium
from tests.browser.watching import Watch
from tests.browser.words import Words

from .conftest import Person, create_server, delete_server, eventually

NAME = "browser-server"
# What a shared machine can nearly always guarantee beside the control plane.
CPU, PACKETS = "4 %", "400 pps"
SECONDS_TO_ENFORCED = 20.0


@pytest.fixture(scope="module")
def server(member: Person) -> Iterator[str]:
    """A running server that Stella knows; its uuid."""
    uuid = create_server(member, NAME, flavor="small")
    eventually(lambda: member.openstack("slo", "list", "--all"), lambda rows: any(row["uuid"] == uuid for row in rows))
    yield uuid
    delete_server(member, NAME)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with chromium() as made:
        yield made


@pytest.fixture
def url(admin: Person) -> str:
    """Horizon's address."""
    return admin.environment["HORIZON_URL"]


@pytest.fixture
def watch(browser: Browser, admin: Person, url: str) -> Iterator[Watch]:
    """A page on which the member is signed in, in English."""
    context = browser.new_context(locale=LOCALES["en"], viewport=SIZE)
    context.set_default_timeout(30_000)
    made = Watch(context.new_page(), url, [])
    sign_in(made.page, url, admin.environment["HORIZON_USER"], admin.environment["HORIZON_PASSWORD"])
    yield made
    context.close()


@pytest.fixture
def panel(watch: Watch, url: str) -> Panel:
    """The member's."""
    return Panel(watch.page, url, Words("en", {}))


def _fill_in(panel: Panel) -> None:
    """The form until it says that it fits; a busy machine has nothing left for some seconds."""

    def answer() -> str:
        panel.field("cpu-floor").fill("")
        panel.field("cpu-floor").fill(CPU)
        panel.field("network_packets-floor").fill(PACKETS)
        expect(panel.answer).to_be_visible(timeout=10_000)
        panel.page.wait_for_timeout(1000)
        return panel.answer.get_attribute("class") or ""

    eventually(answer, lambda found: "alert-success" in found, seconds=120)


def _slo(member: Person) -> dict[str, object]:
    return dict(member.openstack("slo", "show", "--server", NAME))


def test_an_slo_is_set_seen_in_force_and_removed(panel: Panel, server: str, member: Person, watch: Watch) -> None:
    panel.open()
    panel.search(NAME)
    expect(panel.row(server)).to_be_visible()
    panel.open_form(server)
    panel.field("network_packets-floor").fill("400 kpps")
    expect(panel.answer).to_have_class(re.compile("alert-warning"), timeout=10_000)
    _fill_in(panel)
    watch.require_accessible(".modal-dialog form")
    panel.submit()
    panel.expect_message("The service level of %(name)s is set. Its host takes it on now.", name=NAME)
    panel.open()
    status = panel.cell(server, "cpu-status")
    expect(status).to_contain_text(re.compile("Met|No demand|Limited|Violated"), timeout=SECONDS_TO_ENFORCED * 1000)
    assert _slo(member)["state"] == "enforced"

    panel.open_detail(server)
    panel.expect_points(seconds=30)
    expect(panel.page.locator("[data-stella-costs]")).to_have_count(1)
    watch.require_accessible(".stella")
    panel.page.locator("[data-stella-chart]").first.focus()
    panel.page.keyboard.press("End")
    expect(panel.page.locator("[data-stella-reading]").first).to_contain_text("Usage")

    panel.open()
    panel.choose(server, "Remove Service Level")
    panel.submit()
    panel.expect_message("%(name)s is best effort now.", name=NAME)
    panel.open()
    expect(panel.cell(server, "none")).to_be_visible()
    watch.require_clean(known_reports=watch.reports)


def test_the_same_from_horizons_own_list_of_instances(panel: Panel, server: str, member: Person) -> None:
    page = panel.page
    panel.goto("/project/instances/")
    row = page.locator(f'tr[data-object-id="{server}"]')
    row.locator(".dropdown-toggle").click()
    row.get_by_role("link", name="Set Service Level").click()
    expect(panel.dialog.locator("form.stella-form")).to_be_visible()
    _fill_in(panel)
    panel.submit()
    page.wait_for_url("**/project/instances/**")
    assert set(_slo(member)["objectives"]) >= {"cpu", "network_packets"}  # type: ignore[call-overload]

    _open_tab(page, panel, server)
    expect(page.locator(".stella-verdict")).to_be_visible()
    panel.expect_points(seconds=30)

    panel.goto("/project/instances/")
    row.locator(".dropdown-toggle").click()
    row.get_by_role("link", name="Remove Service Level").click()
    panel.submit()
    eventually(lambda: member.openstack("slo", "list"), lambda rows: all(one["uuid"] != server for one in rows))


def _open_tab(page: Page, panel: Panel, server: str) -> None:
    panel.goto(f"/project/instances/{server}/")
    page.get_by_role("tab", name="Service Level").or_(
        page.get_by_role("link", name="Service Level", exact=True)
    ).last.click()


def test_others_do_not_see_it(browser: Browser, other: Person, url: str, server: str) -> None:
    context = browser.new_context(locale=LOCALES["en"], viewport=SIZE)
    try:
        page = context.new_page()
        sign_in(page, url, other.environment["OS_USERNAME"], other.environment["OS_PASSWORD"])
        assert NAME not in page.content()
        page.goto(f"{url}{PANEL}{server}/")
        expect(page.locator(".stella .alert-warning")).to_contain_text("Stella does not know this instance")
    finally:
        context.close()
