"""The fault matrix: every fault has a test, every test is there, and the page for operators says the same."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.faults.__main__ import Ran, row
from tests.faults.matrix import FAULTS, Fault, document

REPOSITORY = Path(__file__).parents[2]
ALSO = {"notifications", "older database", "certificate", "credential", "drain"}


@cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_it_has_all_twenty_one_and_some_more() -> None:
    names = [fault.name for fault in FAULTS]
    assert names[:21] == [f"F{number}" for number in range(1, 22)]
    assert set(names[21:]) == ALSO and len(names) == 21 + len(ALSO)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_has_tests_that_are_there(fault: Fault) -> None:
    assert fault.here, "one that needs no cloud"
    assert len(set(fault.tests)) == len(fault.tests)
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert name.startswith("test_"), test
        assert (REPOSITORY / path).is_file() and name in _functions(path), f"{test} is not there"


def test_every_test_of_its_folder_is_in_it() -> None:
    named = {test for fault in FAULTS for test in fault.tests}
    there = {
        f"tests/faults/{path.name}::{name}"
        for path in (REPOSITORY / "tests" / "faults").glob("test_*.py")
        for name in _functions(f"tests/faults/{path.name}")
        if name.startswith("test_")
    }
    assert there <= named, sorted(there - named)


def test_the_page_holds_the_table() -> None:
    page = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")
    assert document() in page, "python -m tests.faults --document"


def test_a_fault_is_survived_only_when_all_its_tests_ran_and_passed() -> None:
    fault = FAULTS[0]
    passed = {test: Ran(passed=1, seconds=1.0, measured=["a 1.0 s"]) for test in fault.here}
    is_survived, text = row(fault, passed)
    assert is_survived and "survived" in text and "a 1.0 s" in text
    assert not row(fault, {test: passed[test] for test in fault.here[1:]})[0], "one did not run"
    assert not row(fault, {**passed, fault.here[0]: Ran(passed=1, wrong=1)})[0]
