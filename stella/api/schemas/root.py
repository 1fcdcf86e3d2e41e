"""``/``, ``/healthcheck`` and ``/openapi.json``."""

from stella.api.schemas.vocabulary import TEXT, Schema, listing, mapping

VERSIONS = mapping(
    {
        "versions": listing(
            mapping(
                {
                    "id": TEXT,
                    "status": {"type": "string", "enum": ["CURRENT"]},
                    "min_version": TEXT,
                    "max_version": TEXT,
                    "links": listing(mapping({"rel": TEXT, "href": TEXT})),
                }
            )
        )
    }
)
HEALTH = mapping({"healthy": {"type": "boolean"}})
DOCUMENT: Schema = {"type": "object", "description": "OpenAPI 3.1."}
