"""``python -m tests.faults [--output DIRECTORY]``: run the tests of the fault matrix that need no cloud, and write their table.

``--document`` prints the table of docs/faults.md instead. Exit codes: 0 every fault was survived; 1 not so.
"""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.faults.matrix import FAULTS, Fault, document

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Ran:
    """What became of one test function, over all its parameters."""

    passed: int = 0
    wrong: int = 0
    seconds: float = 0.0
    measured: list[str] = field(default_factory=list)


def run(tests: Sequence[str], junit: Path) -> None:
    """Run them; files side by side, those with real guests afterwards and alone."""
    apart = [test for test in tests if test.startswith("tests/faults/test_guests.py")]
    for number, (part, options) in enumerate(
        (([test for test in tests if test not in apart], ("-n", "3", "--dist", "loadfile")), (apart, ("-n", "0")))
    ):
        if part:
            words = ["-p", "no:cacheprovider", "--timeout", "600", *options, f"--junitxml={junit}.{number}"]
            subprocess.run([sys.executable, "-m", "pytest", *words, *part], cwd=REPOSITORY, check=False)


def results(files: Sequence[Path]) -> Mapping[str, Ran]:
    """By ``path::name``."""
    found: dict[str, Ran] = defaultdict(Ran)
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            path = str(case.get("classname")).replace(".", "/") + ".py"
            ran = found[f"{path}::{str(case.get('name')).partition('[')[0]}"]
            ran.seconds += float(case.get("time") or 0)
            is_wrong = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
            ran.wrong, ran.passed = ran.wrong + is_wrong, ran.passed + (not is_wrong)
            for one in case.iter("property"):
                if one.get("name") == "measured" and one.get("value") not in ran.measured:
                    ran.measured.append(str(one.get("value")))
    return found


def row(fault: Fault, found: Mapping[str, Ran]) -> tuple[bool, str]:
    """Whether it was survived, and its line of the table."""
    ran = [found.get(test, Ran(wrong=1)) for test in fault.here]
    is_survived = not any(one.wrong for one in ran)
    verdict = "survived" if is_survived else "NOT survived"
    measured = ", ".join(text for one in ran for text in one.measured) or "-"
    lost = fault.lost if is_survived else "see the tests"
    cases, seconds = sum(one.passed + one.wrong for one in ran), sum(one.seconds for one in ran)
    if fault.elsewhere:
        verdict += f"; on a real cloud: {', '.join(fault.elsewhere)} (not run here)"
    verdict += f"; not yet: {fault.not_yet}" if fault.not_yet else ""
    return (
        is_survived,
        f"| {fault.name} | {fault.fails} | {lost} | {measured} | {cases} in {seconds:.0f} s | {verdict} |",
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="The fault matrix.")
    parser.add_argument("--output", type=Path, default=Path("results") / "faults", help="where the table goes")
    parser.add_argument("--document", action="store_true", help="print the table of docs/faults.md")
    given = parser.parse_args()
    if given.document:
        print(document(), end="")
        return 0
    given.output.mkdir(parents=True, exist_ok=True)
    junit = (given.output / "junit.xml").resolve()
    for old in junit.parent.glob("junit.xml*"):
        old.unlink()
    run(sorted({test for fault in FAULTS for test in fault.here}), junit)
    found = results(sorted(junit.parent.glob("junit.xml*")))
    rows = [row(fault, found) for fault in FAULTS]
    headings = ("", "what was killed or changed", "what was lost", "how long", "tests", "verdict")
    lines = ["| " + " | ".join(headings) + " |", "|---|---|---|---|---|---|", *(text for _, text in rows)]
    (given.output / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0 if all(is_survived for is_survived, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
