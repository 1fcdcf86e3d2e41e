"""Versions, health and the description of the API: for anyone, without authentication."""

from stella.api import microversion, openapi
from stella.api.errors import ApiError
from stella.api.operation import Access, Answer, Call, operation
from stella.api.schemas import root as schema
from stella.db.database import Unreachable
from stella.model.wire import Json


@operation(access=Access.PUBLIC, responses={200: schema.VERSIONS})
def versions(call: Call) -> Answer:
    """List the versions of the API.

    Answers 200 with the one version there is and the microversions that it offers.
    """
    version: dict[str, Json] = {
        "id": "v1",
        "status": "CURRENT",
        "min_version": microversion.VERSIONS[0],
        "max_version": microversion.VERSIONS[-1],
        "links": [{"rel": "self", "href": f"{call.url.rstrip('/')}/v1"}],
    }
    return Answer(body={"versions": [version]})


@operation(access=Access.PUBLIC, responses={200: schema.HEALTH}, errors=("stella.server.database_unreachable",))
def healthcheck(call: Call) -> Answer:
    """Tell whether this process can serve.

    Answers 200, or 503 while the database cannot be reached.
    """
    try:
        call.services.database.ping()
    except Unreachable:
        raise ApiError("stella.server.database_unreachable", "The database cannot be reached.") from None
    return Answer(body={"healthy": True})


@operation(access=Access.PUBLIC, responses={200: schema.DOCUMENT})
def document(call: Call) -> Answer:
    """Describe the API in OpenAPI 3.1.

    Answers 200 with the document that is generated from the schemas of all operations.
    """
    return Answer(body=openapi.served())
