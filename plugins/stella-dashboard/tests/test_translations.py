"""Every text that people read is translated, in its own words and with its own placeholders; the pages show it."""

import json
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import horizon
import openstack_auth
import openstack_dashboard
from babel.messages.catalog import Catalog, Message
from django import conf
from django.conf import settings
from django.test import SimpleTestCase
from django.urls import reverse
from django.utils import translation
from stella_dashboard.api.reasons import Reason
from stella_dashboard.words import moves, quantities, reasons, refusals

from tests import catalogues, sla_records
from tests import operator_records as records
from tests.base import TestCase
from tests.emulated_api import UUID, instance
from tests.test_operators import ALL
from tests.test_slas import FORMS, PAGES, SlaCase

_PLACEHOLDER = re.compile(r"%\(\w+\)[-+ #0-9.]*[a-z]|%%s|%%|%[ds]|{{.*?}}|{\w+}|</?[a-z]+>")
_LETTER_OF = {"ko_KR": re.compile("[가-힣]")}
_SAME = {"CPU", "Flavor", "Stella", "vCPUs", "%(number)s core"}
"""Texts that are the same in every language: names and units."""

_NO_TEXT = re.compile(
    r"{%\s*blocktrans.*?{%\s*endblocktrans\s*%}|{%\s*block \w*(?:class|classes|attrs|autocomplete)\s*%}.*?{%\s*endblock\s*%}",
    re.DOTALL,
)
"""What is translated, and what stands in an attribute that nobody reads."""
_READ_ATTRIBUTE = re.compile(r"""\b(?:title|alt|placeholder|aria-label)="([^"]*)\"""")
_WORD = re.compile(r"[A-Za-z]{2,}")


def texts(found: str | Iterable[str] | None) -> list[str]:
    """Of a message or its translation, one for each plural form."""
    return [found or ""] if isinstance(found, str | None) else [one or "" for one in found]


def placeholders(text: str) -> list[str]:
    """All that a program fills in, and all tags."""
    return sorted(_PLACEHOLDER.findall(text))


class CatalogueTest(SimpleTestCase):
    """What is wrong is told by file and line."""

    found: dict[str, Catalog]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        with tempfile.TemporaryDirectory() as directory:
            cls.found = dict(catalogues.brought_up_to_date(Path(directory)))

    def check(self, what: str, wrong: Iterable[tuple[str, Message]]) -> None:
        """Fails with one line for each message that is wrong."""
        lines = []
        for locale, message in wrong:
            places = ", ".join(f"{name.removeprefix('./')}:{line}" for name, line in message.locations)
            lines.append(f"{places or 'locale'}: {texts(message.id)[0]!r} ({locale}) {what}")
        if lines:
            hint = "scripts/translate-stella-dashboard.sh brings the catalogue up to date: docs/horizon/translating.md"
            self.fail("\n".join(["", *sorted(lines), hint]))

    def messages(self) -> Iterable[tuple[str, Message]]:
        """All, with their locales."""
        return [(locale, message) for locale, catalog in self.found.items() for message in catalog if message.id]

    def translated(self) -> Iterable[tuple[str, Message]]:
        """Those that can be judged."""
        return [(locale, one) for locale, one in self.messages() if not one.fuzzy and all(texts(one.string))]

    def test_korean_is_there(self) -> None:
        self.assertEqual(catalogues.locales(), ["ko_KR"])

    def test_everything_is_translated(self) -> None:
        self.check("is not translated", [one for one in self.messages() if one not in self.translated()])

    def test_nothing_else_is(self) -> None:
        gone = [(locale, one) for locale, catalog in self.found.items() for one in catalog.obsolete.values()]
        self.check("is in no source", gone)

    def test_placeholders_are_kept(self) -> None:
        self.check(
            "has other placeholders",
            [
                (locale, one)
                for locale, one in self.translated()
                if any(placeholders(text) != placeholders(texts(one.id)[-1]) for text in texts(one.string))
            ],
        )

    def test_it_is_the_language(self) -> None:
        self.check(
            "is not in the language",
            [
                (locale, one)
                for locale, one in self.translated()
                if texts(one.id)[0] not in _SAME
                and not all(_LETTER_OF[locale].search(text) for text in texts(one.string))
            ],
        )

    def test_sentences_end_alike(self) -> None:
        def end(text: str) -> str:
            return text[-1] if text[-1] in ".:?" else ""

        self.check(
            "ends otherwise",
            [
                (locale, one)
                for locale, one in self.translated()
                if any(end(text) != end(texts(one.id)[-1]) for text in texts(one.string))
            ],
        )

    def test_horizons_own_words_stay_as_they_are(self) -> None:
        """Django has one catalogue for all applications: a translation of ours would stand on Horizon's pages."""
        packages = [Path(one.__file__).parent for one in (openstack_auth, horizon, openstack_dashboard)]
        wrong = []
        for locale, catalog in self.found.items():
            theirs = [catalogues.read(catalogues.of(package, locale)) for package in packages]
            theirs.append(catalogues.read(catalogues.of(Path(conf.__file__).parent, locale.partition("_")[0])))
            for message in catalog:
                others = [their.get(message.id, message.context) for their in theirs] if message.id else []
                if any(other and other.string and other.string != message.string for other in others):
                    wrong.append((locale, message))
        self.check("is another word in Horizon: give it a context (pgettext)", wrong)

    def test_no_template_has_a_text_that_cannot_be_translated(self) -> None:
        wrong = []
        for path in sorted(catalogues.PACKAGE.rglob("templates/**/*.html")):
            text = _NO_TEXT.sub(lambda found: "\n" * found[0].count("\n"), path.read_text())
            text = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}|&\w+;", "", text)
            shown = re.sub(r"<[^>]*>", lambda found: " ".join(_READ_ATTRIBUTE.findall(found[0])), text)
            for number, line in enumerate(shown.splitlines(), start=1):
                if _WORD.search(line):
                    wrong.append(f"{path.relative_to(catalogues.PACKAGE)}:{number}: {line.strip()!r}")
        self.assertEqual(wrong, [])


_OF_NO_LANGUAGE = {
    "CPU",
    "SLA",
    "UTC",
    "ID",
    "Stella",
    "Placement",
    "kpps",
    "core",
    "xgos",
    "Flavor",
    "flavor",
    "vCPU",
    "vcpu",
    "GiB",
}
_OF_NO_LANGUAGE |= {
    "CSV",
    "JSON",
    "SHA",
    "sha",
    "Mbit",
    "MB",
    "iops",
    "ms",
    "EUR",
    "Asia",
    "Seoul",
    "cores",
    "Nova",
    "ERROR",
}
_OF_NO_LANGUAGE |= {"stella", "manage", "sla", "recompute", "json"}
_TOLD = {
    "web",
    "compute",
    "greedy",
    "ann",
    "req",
    "gold",
    "large",
    "new",
    "kernel",
    "bob",
    "another",
    "instance",
    "d" * 64,
}
_TOLD |= {"later", "figure", "bytes", "Cancel"}
"""Words of the tests' data, and Horizon's own: names."""


EVERY_REASON = [
    [{"code": code, "values": {"number": 2, "hosts": 9, "seconds": 60, "cores": 0.5, "state": "paused", "status": "x"}}]
    for code in sorted(moves.BECAUSE)
]
"""Each by itself, without the host that an operator is told."""


class KoreanOperatorsTest(SlaCase):
    """What operators see: pages that are all of Stella's."""

    def test_no_word_is_in_english(self) -> None:
        self.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "ko"
        self.addCleanup(translation.deactivate)
        self.fill()
        self.fill_slas()
        self.api.answer("GET", "/v1/budgets", 200, {"budgets": [sla_records.budget(1)]})
        moved = [records.decision(kind="relief", why=why, move=sla_records.move(why=why)) for why in EVERY_REASON]
        self.lists("decisions", *moved)
        budgets = [reverse("horizon:project:error_budgets:index"), reverse("horizon:admin:stella_budgets:index")]
        overview = reverse("horizon:project:service_levels_overview:index")
        for address in (*ALL, *PAGES, *FORMS, *budgets, overview):
            page = self.text(address)
            ours = re.search(r'<(?:div|form)\b[^>]*class="[^"]*\bstella\b', page)
            assert ours is not None, address
            shown = re.sub(r"<script.*?</script>", "", page[ours.start() :], flags=re.DOTALL)
            shown = re.sub(r"<[^>]*>", lambda found: " ".join(_READ_ATTRIBUTE.findall(found[0])), shown)
            self.assertRegex(shown, _LETTER_OF["ko_KR"])
            words = set(_WORD.findall(shown.replace("_", " ")))
            self.assertEqual(words - _OF_NO_LANGUAGE - _TOLD, set(), address)


class KoreanTest(TestCase):
    """Pages as somebody sees them who chose Korean in Horizon's settings."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(translation.deactivate)  # requests leave theirs in the thread
        self.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "ko"

    def test_the_list(self) -> None:
        packets = {"network_packets": (20_000.0, 14_250.0, "VIOLATED", "cpu", 0.875, 0.99996)}
        self.api.lists(instance(1, objectives=packets), instance(2))
        page = self.client.get(reverse("horizon:project:service_levels:index"))
        text = page.content.decode().replace("\N{NO-BREAK SPACE}", " ")
        for shown in (
            "서비스 수준",
            "네트워크 패킷",
            "최소 20 kpps",
            "위반",
            "원인: CPU 부족",
            "87.50 %",
            "최선형: 보장되는 값이 없습니다.",
        ):
            self.assertIn(shown, text)

    def test_reasons_that_hosts_and_the_api_tell(self) -> None:
        with translation.override("ko"):
            for told, shown in (
                ([("shut_off", {})], "인스턴스가 종료되어 있습니다"),
                ([("host_mode_is", {"host": "compute-1", "mode": "observe"})], "호스트 compute-1의 모드: 관찰"),
                ([("host_mode_is", {"mode": "observe"})], "호스트의 모드: 관찰"),
                (
                    [
                        ("does_not_fit_on", {"host": "h"}),
                        ("capacity", {"field": "cpu.floor", "cores": 0.5, "free": 0.1}),
                    ],
                    "CPU: 호스트 h에서 수용할 수 없음: CPU 50 % 필요, 호스트에서 더 보장할 수 있는 CPU는 10 %뿐입니다",
                ),
                (
                    [("does_not_fit_on", {}), ("other", {"text": "100 %(s) of something"})],
                    "호스트에서 수용할 수 없음: 100 %(s) of something",
                ),
                ([("of_a_later_release", {})], "as it was told"),
                ([("shut_off", {}), ("of_a_later_release", {})], "as it was told"),
                ([], "as it was told"),
            ):
                said = reasons.show(Reason("as it was told.", tuple(told)))
                self.assertEqual(said.replace("\N{NO-BREAK SPACE}", " "), shown)
            self.assertEqual(reasons.show(Reason()), "")

    def test_a_large_number_in_a_reason_is_shown_whole(self) -> None:
        values = {"free": 12_345_678.0, "class": "CUSTOM_STELLA_BLOCK_KBPS"}
        with translation.override("en"):
            said = reasons.show(Reason("", (("placement_room", values),)))
        self.assertEqual(said, "Placement has room for 12345678 CUSTOM_STELLA_BLOCK_KBPS on this host")

    def test_every_code_of_the_api_can_be_said(self) -> None:
        document = json.loads((Path(__file__).parents[3] / "docs" / "api" / "openapi.json").read_text())
        error = document["components"]["schemas"]["Errors"]["properties"]["errors"]["items"]["properties"]
        self.assertEqual(set(error["why"]["items"]["properties"]["code"]["enum"]), reasons.codes())
        self.assertEqual(set(error["code"]["enum"]), refusals.codes())
        values = {name: 1.5 for name in ("cores", "free", "largest", "vcpus", "number", "seconds")}
        for code in sorted(reasons.codes()):
            said = {}
            for language in ("en", "ko"):
                with translation.override(language):
                    said[language] = reasons.show(Reason("", ((code, {**values, "text": "x", "host": "h"}),)))
            self.assertTrue(all(said.values()), code)
            self.assertNotIn("%(", "".join(said.values()))

    def test_a_limit_from_outside(self) -> None:
        told = {
            "field": "objectives.cpu.floor",
            "source": "flavor",
            "name": "quota:cpu_quota",
            "device": "",
            "value": 0.5,
        }
        with translation.override("ko"):
            shown = reasons.contradiction({**told, "reachable": True}).replace("\N{NO-BREAK SPACE}", " ")
        self.assertRegex(shown, r"^CPU: .*quota:cpu_quota, 50 %.*\. .*\.$")

    def test_what_the_form_shows_can_be_sent(self) -> None:
        cores = {"cpu": (1.5, 1.0, "MET", None, 1.0, 1.0)}
        self.api.lists(instance(1, objectives=cores))
        page = self.client.get(reverse("horizon:project:service_levels:set", args=[UUID.format(1)]))
        self.assertContains(page, "서비스 수준 설정")
        with translation.override("ko"):
            for metric, value in (
                ("cpu", 0.2),
                ("cpu", 1.0),
                ("cpu", 1.5),
                ("network_bytes", 6e7),
                ("block_latency", 0.005),
            ):
                self.assertEqual(quantities.parse(metric, quantities.show(metric, value)), value)
            self.assertEqual(quantities.core_words(), {"one": "core", "more": "core"})
        with translation.override("en"):
            self.assertEqual(quantities.core_words(), {"one": "core", "more": "cores"})
