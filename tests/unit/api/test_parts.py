"""The parts that handlers stand on: JSON, tokens, generations, the routes and their description."""

import json
import os
from pathlib import Path

import pytest

from stella.api import openapi, policies, reference, strict_json, times
from stella.api.errors import CODES
from stella.api.identity import InvalidTokenFile, TokenFile, new_token, read_tokens, with_implied
from stella.api.operation import Access, Operation
from stella.api.routes import ROUTES
from stella.conf import sample

DOCUMENT = Path(__file__).parents[3] / "docs/api/openapi.json"
REFERENCE = DOCUMENT.with_name("reference.md")
OPERATIONS = [(path, method, operation) for path, ops in ROUTES.items() for method, operation in ops.items()]


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", "1e999", "9" * 41, '{"a":1,"a":2}', "[" * 100_000, "", "{", "'a'"]
)
def test_what_is_not_strict_json(text: str) -> None:
    with pytest.raises(strict_json.NotJson):
        strict_json.parse(text.encode())


def test_json_there_and_back() -> None:
    value = {"a": [1, 2.5, None, True, "é"], "b": {}}
    assert strict_json.parse(strict_json.dump(value)) == value


def test_times() -> None:
    assert times.show(0) == "1970-01-01T00:00:00Z" and times.show(1.5) == "1970-01-01T00:00:01.500Z"
    assert times.parse("1970-01-01T01:00:00+01:00") == 0
    assert times.show(times.month_start(times.parse("2026-11-24T22:59:00Z"))) == "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_operation_has_its_contract(path: str, method: str, operation: Operation) -> None:
    lines = (operation.handler.__doc__ or "").splitlines()
    assert lines[0].endswith(".") and any("Answers" in line for line in lines), "what it does, what it answers"
    assert operation.query["additionalProperties"] is False
    assert operation.responses and set(operation.errors) <= set(CODES)
    assert (operation.body is not None) == (method in ("PUT", "POST", "PATCH"))
    known = {rule.name for rule in policies.list_rules()}
    assert set(operation.rules) <= known
    assert bool(operation.rules) == (operation.access is Access.USER)


def test_every_policy_is_used() -> None:
    used = {rule for _, _, operation in OPERATIONS for rule in operation.rules}
    declared = {rule.name for rule in policies.list_rules() if rule.name.startswith("stella:")}
    assert declared - used == {"stella:instance:show_host"}


@pytest.mark.parametrize("path", [DOCUMENT, REFERENCE])
def test_the_description_of_the_api_is_up_to_date(path: Path) -> None:
    document = openapi.generate(ROUTES)
    text = json.dumps(document, indent=1) + "\n" if path is DOCUMENT else reference.print_markdown(document)
    if os.environ.get("STELLA_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, "run STELLA_UPDATE_GOLDEN=1 python -m pytest tests/unit/api"


@pytest.mark.parametrize("name", ["stella.conf", "stella.policy.yaml"])
def test_the_samples_are_up_to_date(name: str) -> None:
    path = DOCUMENT.parents[2] / "etc" / name
    text = sample.print_config() if name == "stella.conf" else sample.print_policy(policies.list_rules())
    if os.environ.get("STELLA_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, "run STELLA_UPDATE_GOLDEN=1 python -m pytest tests/unit/api"


def test_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    users = TokenFile(path)
    assert users.identify({"HTTP_X_AUTH_TOKEN": "x"}) is None
    token = new_token(path, user_id="ann", project_id="p1", roles=("admin",))
    found = users.identify({"HTTP_X_AUTH_TOKEN": token})
    assert found is not None and (found.user_id, found.project_id) == ("ann", "p1")
    assert found.roles == ("admin", "member", "reader") == with_implied(("admin",))
    assert token not in path.read_text() and path.stat().st_mode & 0o007 == 0
    second = new_token(path, user_id="bob", project_id="p1", roles=("reader",))
    assert users.identify({"HTTP_X_AUTH_TOKEN": second}) is not None, "the file is read again when it changes"
    path.write_text(path.read_text() + "[[tokens]\n")
    assert users.identify({"HTTP_X_AUTH_TOKEN": token}) is not None, "a broken file leaves the last good one"
    with pytest.raises(InvalidTokenFile):
        read_tokens(path)
    path.unlink()
    assert users.identify({"HTTP_X_AUTH_TOKEN": token}) is None


@pytest.mark.parametrize(
    ("user", "roles"), [("a b", ("reader",)), ("", ("reader",)), ('x"\n', ("reader",)), ("ann", ("root",))]
)
def test_tokens_that_cannot_be(tmp_path: Path, user: str, roles: tuple[str, ...]) -> None:
    path = tmp_path / "tokens.toml"
    with pytest.raises(ValueError):
        new_token(path, user_id=user, project_id="p1", roles=roles)
    assert not path.exists()


@pytest.mark.parametrize(
    "entry",
    [
        '[[tokens]]\nuser_id = "a"\nproject_id = "p"\nroles = ["reader"]\n',
        '[[tokens]]\nuser_id = "a"\nproject_id = "p"\nroles = ["reader"]\nsha256 = "short"\n',
        '[[tokens]]\nuser_id = "a"\nproject_id = "p"\nroles = ["king"]\nsha256 = "' + "0" * 64 + '"\n',
        "not toml",
    ],
)
def test_token_files_that_cannot_be(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(entry)
    with pytest.raises(InvalidTokenFile, match=str(path)):
        read_tokens(path)
