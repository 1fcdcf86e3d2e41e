"""Watches a page of the browser while a test uses it, and says what must not have happened."""

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from playwright.sync_api import ConsoleMessage, Page, Request, Response

# Angular, which Horizon brings, makes functions from text on every page: that is not Stella's.
_REPORTS = """
window.stellaReports = [];
document.addEventListener('securitypolicyviolation', (event) => {
  if (event.blockedURI !== 'eval' || event.sourceFile.includes('/stella_dashboard/')) {
    window.stellaReports.push([event.effectiveDirective, event.blockedURI, event.sample.trim().slice(0, 40)].join(' | '));
  }
});
"""
_SERIOUS = ("serious", "critical")


class Watch:
    """What a page said, asked for and reported. ``secrets`` must be found nowhere."""

    def __init__(self, page: Page, origin: str, secrets: Iterable[str]) -> None:
        self.page, self._origin, self._secrets = page, origin, tuple(secrets)
        self.said: list[str] = []
        self.reports: set[str] = set()
        self._addresses: list[str] = []
        page.add_init_script(_REPORTS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        is_report = "report-only" in message.text.lower().replace(" ", "-")  # they are collected as events
        if message.type == "error" and not is_report:
            self.said.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _request(self, request: Request) -> None:
        self._addresses.append(request.url)

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.said.append(f"{response.status} {response.url}")

    def look(self) -> None:
        """Take what this page reported so far, and look for secrets in it. Raises AssertionError."""
        self.reports |= set(self.page.evaluate("window.stellaReports || []"))
        kept = self.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        content = self.page.content()
        for secret in self._secrets:
            assert secret not in content, "a token is in the page"
            assert secret not in kept, "a token is kept by the page"
            assert all(secret not in address for address in self._addresses), "a token is in an address"

    def require_clean(self, *, known_reports: Iterable[str] = (), allowed: Iterable[str] = ()) -> None:
        """No error in the console, nothing from elsewhere, nothing that the strict policy forbids but what Horizon itself does.

        ``allowed`` are parts of messages that the test caused. Raises AssertionError.
        """
        self.look()
        said = [one for one in self.said if not any(part in one for part in allowed)]
        assert not said, said
        elsewhere = [one for one in self._addresses if not one.startswith((self._origin, "data:", "blob:", "about:"))]
        assert not elsewhere, elsewhere
        own = self.reports - set(known_reports)
        assert not own, sorted(own)

    def require_accessible(self, selector: str) -> None:
        """axe-core finds nothing serious inside the elements of ``selector``. Raises AssertionError with what it found."""
        found = findings(self.page, selector)
        assert not found, found


def findings(page: Page, selector: str) -> list[str]:
    """The serious findings of axe-core: rule, what it asks for, and where."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    options = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    found: dict[str, Any] = page.evaluate(
        "([selector, options]) => axe.run({include: [[selector]]}, options)", [selector, options]
    )
    return [
        f"{one['id']}: {one['help']}: {node['target']} {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in _SERIOUS
        for node in one["nodes"]
    ]
