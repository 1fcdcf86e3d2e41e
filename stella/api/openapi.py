"""The API described in OpenAPI 3.1, generated from the routes and their schemas.

`docs/api/openapi.json` is this document; a test fails when the two differ.
"""

import functools
import inspect
import re
from collections.abc import Mapping
from typing import Any, cast

import stella
from stella.api import microversion
from stella.api.errors import CODES
from stella.api.operation import Access, Operation
from stella.api.schemas.quota import EXCEEDED, PROJECT_ID
from stella.api.schemas.slo import COUNTER_OFFER
from stella.api.schemas.vocabulary import (
    BY_METRIC,
    EXISTING_LIMIT,
    HOST_NAME,
    TEXT,
    UUID,
    WHY_OF_ERROR,
    listing,
    mapping,
)
from stella.model.wire import Json

_NUMBER: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 10**15 - 1}
_PATH_PARAMETERS = {
    "uuid": UUID,
    "name": HOST_NAME,
    "project_id": PROJECT_ID,
    "sla_id": {**UUID, "description": "Uuid of an SLA class."},
    **dict.fromkeys(("violation_id", "attachment_id", "exclusion_id", "correction_id", "decision_id"), _NUMBER),
}
_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.USER: [{"token": []}],
    Access.HOST: [{"host": []}],
    Access.PUBLIC: [],
}
_TEXTS = {200: "OK", 201: "Created", 204: "No content", 304: "Not modified"}
_ALWAYS = {
    Access.USER: (
        "stella.request.unauthenticated",
        "stella.request.forbidden",
        "stella.server.database_unreachable",
        "stella.server.keystone_unreachable",
    ),
    Access.HOST: ("stella.request.unauthenticated", "stella.server.database_unreachable"),
}

ERRORS = mapping(
    {
        "errors": listing(
            mapping(
                {
                    "code": {"type": "string", "enum": sorted(CODES)},
                    "status": {"type": "integer"},
                    "title": TEXT,
                    "detail": TEXT,
                    "request_id": TEXT,
                    "links": {"type": "array"},
                    "field": TEXT,
                    "why": WHY_OF_ERROR,
                    "generation": {"type": "integer"},
                    "counter_offer": COUNTER_OFFER,
                    "quota": EXCEEDED,
                    "limit": EXISTING_LIMIT,
                    "largest": BY_METRIC,
                    "min_version": TEXT,
                    "max_version": TEXT,
                },
                optional=(
                    "field",
                    "why",
                    "generation",
                    "counter_offer",
                    "quota",
                    "limit",
                    "largest",
                    "min_version",
                    "max_version",
                ),
            )
        )
    }
)


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]
    for name, schema in operation.query["properties"].items():
        found.append({"name": name, "in": "query", "required": False, "schema": schema})
    if operation.access is not Access.PUBLIC:
        found.append({"$ref": "#/components/parameters/version"})
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, schema in sorted(operation.responses.items()):
        found[str(status)] = {"description": _TEXTS[status]}
        if schema is not None:
            found[str(status)]["content"] = {"application/json": {"schema": schema}}
        if status == 200 and operation.media_types:
            found["200"]["content"] |= {media: {"schema": TEXT} for media in operation.media_types}
    by_status: dict[int, list[str]] = {}
    codes = (*operation.errors, *_ALWAYS.get(operation.access, ()))
    if operation.body is not None:
        codes = (*codes, "stella.request.not_json", "stella.request.invalid", "stella.request.too_large")
        codes = (*codes, "stella.request.length_required", "stella.request.not_json_type")
    for code in dict.fromkeys((*codes, "stella.request.invalid", "stella.request.microversion_unsupported")):
        by_status.setdefault(CODES[code][0], []).append(code)
    for status, listed in sorted(by_status.items()):
        found[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in listed),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Errors"}}},
        }
    return found


def _describe(path: str, operation: Operation) -> dict[str, Any]:
    summary, _, rest = (inspect.getdoc(operation.handler) or "").partition("\n\n")
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.name.partition(".")[0]],
        "summary": summary,
        "description": " ".join(rest.split()),
        "security": _SECURITY[operation.access],
        "parameters": _parameters(path, operation),
        "responses": _responses(operation),
    }
    if operation.rules:
        described["x-stella-policies"] = list(operation.rules)
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": operation.body}}}
    return described


def generate(routes: Mapping[str, Mapping[str, Operation]]) -> dict[str, Json]:
    """The document."""
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Stella",
            "version": microversion.VERSIONS[-1],
            "summary": "Service level objectives of virtual machines",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "x-release": stella.__version__,
        },
        "paths": {
            path: {method.lower(): _describe(path, operation) for method, operation in operations.items()}
            for path, operations in routes.items()
        },
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "host": {"type": "http", "scheme": "bearer", "description": "The host's credential from enrolment."},
            },
            "parameters": {
                "version": {
                    "name": microversion.HEADER,
                    "in": "header",
                    "required": False,
                    "schema": TEXT,
                    "example": f"{microversion.SERVICE_TYPE} {microversion.VERSIONS[-1]}",
                }
            },
            "schemas": {"Errors": ERRORS},
        },
    }
    return cast(dict[str, Json], document)


@functools.cache
def served() -> dict[str, Json]:
    """The document of this process's own routes."""
    from stella.api.routes import ROUTES  # noqa: PLC0415  # the routes name the handler that serves this document

    return generate(ROUTES)
