"""``OpenStack-API-Version: stella 1.0``. The header is read by microversion-parse; the errors are this API's own, in JSON."""

from collections.abc import Mapping

import microversion_parse

from stella.api.errors import ApiError

SERVICE_TYPE = "stella"
VERSIONS = ("1.0",)
HEADER = "OpenStack-API-Version"


def negotiate(headers: Mapping[str, str]) -> str:
    """The version to answer in: the oldest where none is asked for. Raises `ApiError` (400, 406)."""
    try:
        return str(microversion_parse.extract_version(dict(headers), SERVICE_TYPE, VERSIONS))
    except ValueError as error:
        raise ApiError(
            "stella.request.microversion_unsupported",
            f"{HEADER}: {error}; this server offers {VERSIONS[0]} to {VERSIONS[-1]}.",
            extra={"min_version": VERSIONS[0], "max_version": VERSIONS[-1]},
        ) from None
    except TypeError as error:
        raise ApiError("stella.request.microversion_invalid", f"{HEADER}: {error}.", field=HEADER) from None
