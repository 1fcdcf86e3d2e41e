"""Generations and conditional requests: who changes something must have seen what is there."""

from stella.api.errors import ApiError
from stella.api.operation import Call


def etag(version: int | str) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]


def not_modified(call: Call, tag: str) -> bool:
    """Whether the caller has this version already (``If-None-Match``)."""
    return call.if_none_match is not None and (call.if_none_match.strip() == "*" or tag in _tags(call.if_none_match))


def check_generation(call: Call, given: int | None, current: int | None, *, code: str, what: str) -> None:
    """Raises `ApiError` (409) unless the caller names the current generation, in ``If-Match`` or as ``generation``.

    ``current`` None: there is nothing yet, and nothing, 0 or ``If-None-Match: *`` may be named. ``If-Match: *`` takes whatever is
    there.
    """
    extra = {"generation": current or 0}
    if current is None:
        if given or call.if_match is not None:
            raise ApiError(code, f"{what} does not exist, so it has no generation.", field="generation", extra=extra)
        return
    if call.if_none_match is not None and call.if_none_match.strip() == "*":
        raise ApiError(code, f"{what} exists already.", field="If-None-Match", extra=extra)
    if call.if_match is not None and call.if_match.strip() != "*" and etag(current) not in _tags(call.if_match):
        raise ApiError(code, f"{what} has generation {current}, not that of If-Match.", field="If-Match", extra=extra)
    if given is not None and given != current:
        raise ApiError(code, f"{what} has generation {current}, not {given}.", field="generation", extra=extra)
    if given is None and call.if_match is None:
        raise ApiError(
            code,
            f"{what} exists; name its generation ({current}) as generation or If-Match to change it.",
            field="generation",
            extra=extra,
        )
