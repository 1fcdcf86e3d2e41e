"""Horizon's sign-in and Stella's pages as a user handles them, in the page's language, for both tiers of browser tests."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.keystone import PASSWORD, Account
from tests.browser.words import Words

PANEL = "/project/service_levels/"
SECONDS = 1000.0
"""In the unit of Playwright."""
AWAY = "Stella's API does not answer. What it guarantees goes on being held; it cannot be shown or changed now."
_TRIES = 5
_PAUSE_SECONDS = 5.5
"""Horizon asks again after five."""


def sign_in(page: Page, url: str, user: str, password: str, *, path: str = PANEL, domain: str | None = None) -> None:
    """Through Horizon's form, to the page at ``path``."""
    page.goto(f"{url}/auth/login/?next={path}")
    if domain is not None and page.locator("#id_domain").count():
        page.locator("#id_domain").fill(domain)
    page.locator("#id_username").fill(user)
    page.locator("#id_password").fill(password)
    page.locator("#loginBtn").click()
    page.wait_for_url(f"**{path}*")


class Panel:
    """The project panel and what opens from it."""

    def __init__(self, page: Page, url: str, words: Words) -> None:
        self.page, self.words, self._url = page, words, url

    def goto(self, path: str) -> None:
        """Another page of Horizon."""
        self.page.goto(f"{self._url}{path}")

    def open(self, query: str = "") -> None:
        """The list."""
        self.goto_answered(f"{PANEL}{query}")

    def open_detail(self, uuid: str) -> None:
        """The page of one instance."""
        self.goto_answered(f"{PANEL}{uuid}/")

    def goto_answered(self, path: str) -> None:
        """The page with what stella-api tells. On a machine that is busy with other tests its two seconds may not be enough."""
        away = self.page.locator(".alert-warning").get_by_text(self.words(AWAY))
        for _ in range(_TRIES):
            self.goto(path)
            if not away.count():
                return
            self.page.wait_for_timeout(_PAUSE_SECONDS * SECONDS)
        raise AssertionError("stella-api does not answer")

    def rows(self) -> list[str]:
        """Names of the instances that are listed, in order."""
        return [one.strip() for one in self.page.locator(".stella-name").all_inner_texts()]

    def row(self, uuid: str) -> Locator:
        """The rows of one instance."""
        return self.page.locator(f'[data-stella-instance="{uuid}"]')

    def cell(self, uuid: str, name: str) -> Locator:
        """One cell, such as ``cpu-status``."""
        return self.row(uuid).locator(f'[data-stella-cell="{name}"]')

    def only(self, health: str) -> None:
        """Choose one of the filters above the list."""
        self.page.locator(".stella-healths").get_by_role("link", name=self.words(health), exact=True).click()

    def search(self, text: str) -> None:
        """Filter by name, on the server."""
        box = self.page.locator("#service_levels .table_search input[type=text]")
        box.fill(text)
        box.press("Enter")

    def choose(self, uuid: str, action: str) -> None:
        """An action of the row, wherever Horizon puts it: as a button or in the menu beside it."""
        found = self.row(uuid).locator(".actions_column")
        link = found.get_by_role("link", name=self.words(action))
        menu = found.locator("a.dropdown-toggle, button.dropdown-toggle")
        if not link.is_visible():
            menu.click()
        link.click()

    @property
    def dialog(self) -> Locator:
        """The modal form that is open."""
        return self.page.locator(".modal.in .modal-dialog, .modal.show .modal-dialog")

    @property
    def answer(self) -> Locator:
        """What the form says before it is sent."""
        return self.dialog.locator("[data-stella-answer] .alert")

    def open_form(self, uuid: str) -> None:
        """*Set Service Level*, until it is there."""
        self.choose(uuid, "Set Service Level")
        expect(self.dialog.locator("form.stella-form")).to_be_visible()

    def focus_action(self, uuid: str) -> None:
        """Put the keyboard on the first action of the row."""
        self.row(uuid).locator(".actions_column a").first.focus()

    def focused_field(self) -> str:
        """Name of the field that the keyboard is on."""
        return str(self.page.evaluate("document.activeElement.name || ''"))

    def error(self, name: str) -> Locator:
        """What is said next to a field."""
        return self.dialog.locator(f'[data-stella-field="{name}"] [data-stella-error]')

    def take(self, name: str) -> None:
        """Press the button that fills in the field."""
        self.dialog.locator(f'[data-stella-take="{name}"]').first.click()

    def field(self, name: str) -> Locator:
        """One field of the form, such as ``cpu-floor``."""
        return self.dialog.locator(f'[name="{name}"]')

    def submit(self) -> None:
        """Send the form, and wait until it has closed."""
        self.dialog.locator("input[type=submit]").click()
        expect(self.dialog).to_have_count(0)

    def expect_message(self, sentence: str, **values: object) -> None:
        """What Horizon says after an action."""
        expect(self.page.locator(".messages .alert, .toast, #main_content .alert").first).to_contain_text(
            self.words(sentence, **values)
        )

    def expect_points(self, *, seconds: float = 30.0) -> None:
        """Wait until the charts of an instance have something to draw, which one sees in the words for the newest point."""
        self.page.wait_for_function(
            """() => [...document.querySelectorAll('[data-stella-strip]')].every((strip) =>
              strip.width > 0 && strip.getContext('2d').getImageData(0, 0, strip.width, strip.height).data.some((one) => one))""",
            timeout=seconds * SECONDS,
        )

    def sign_in_again(self, account: Account) -> None:
        """As somebody else."""
        self.page.context.clear_cookies()
        sign_in(self.page, self._url, account.name, PASSWORD)

    def expect_status(self, uuid: str, metric: str, status: str, *, seconds: float = 20.0) -> None:
        """Wait until the row says so, by itself."""
        expect(self.cell(uuid, f"{metric}-status")).to_contain_text(
            self.words.status(status), timeout=seconds * SECONDS
        )


def number_in(text: str) -> float:
    """The first number of a sentence."""
    found = re.search(r"[\d.]+", text)
    assert found, text
    return float(found[0])
