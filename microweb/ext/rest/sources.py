"""Where a ``RequestParser`` looks for values: the query, the body, headers, cookies, files.

``collect`` reads them in a ``def`` method, ``collect_async`` in an ``async def`` one; what is read is the same. Only
the places that are asked for are read, and only a body of the right type: a GET without a body has no JSON, and that
is no mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from microweb import Request, SyncRequest

__all__ = ["LOCATIONS", "Values", "collect", "collect_async"]

Values = dict[str, list[Any]]
"""Every value of each name."""

LOCATIONS = ("args", "form", "json", "headers", "cookies", "files", "values", "view_args")
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def collect(request: SyncRequest, locations: Iterable[str]) -> dict[str, Values]:
    """The values of each location.

    Raises: as ``SyncRequest.json`` and ``SyncRequest.form``, for a body that says it is one and is malformed.
    """
    wanted = frozenset(locations)
    found = plain_values(request, wanted)
    is_form = request.mimetype in FORMS
    if "json" in wanted:
        found["json"] = values_of_json(request.get_json()) if request.is_json else {}
    if "form" in wanted or "values" in wanted:
        found["form"] = dict(request.form.lists()) if is_form else {}
    if "files" in wanted:
        found["files"] = dict(request.files.lists()) if is_form else {}
    return with_values(found, wanted)


async def collect_async(request: Request, locations: Iterable[str]) -> dict[str, Values]:
    """``collect`` in coroutine code.

    Raises: as ``Request.json`` and ``Request.form``, likewise.
    """
    wanted = frozenset(locations)
    found = plain_values(request, wanted)
    is_form = request.mimetype in FORMS
    if "json" in wanted:
        found["json"] = values_of_json(await request.json()) if is_json(request.mimetype) else {}
    if "form" in wanted or "values" in wanted:
        found["form"] = dict((await request.form()).lists()) if is_form else {}
    if "files" in wanted:
        found["files"] = dict((await request.files()).lists()) if is_form else {}
    return with_values(found, wanted)


def plain_values(request: Request | SyncRequest, wanted: frozenset[str]) -> dict[str, Values]:
    """The values of the locations that nobody has to wait for."""
    found: dict[str, Values] = {}
    if wanted & {"args", "values"}:
        found["args"] = dict(request.args.lists())
    if "cookies" in wanted:
        found["cookies"] = dict(request.cookies.lists())
    if "view_args" in wanted:
        found["view_args"] = {name: [value] for name, value in request.view_args.items()}
    if "headers" in wanted:
        headers: Values = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        found["headers"] = headers
    return found


def with_values(found: dict[str, Values], wanted: frozenset[str]) -> dict[str, Values]:
    """The same, with ``values``: the query, and after it the form."""
    if "values" in wanted:
        found["values"] = merge([found["args"], found["form"]])
    return found


def merge(several: Iterable[Values]) -> Values:
    """All values of each name, in order."""
    merged: Values = {}
    for values in several:
        for name, each in values.items():
            merged.setdefault(name, []).extend(each)
    return merged


def values_of_json(body: Any) -> Values:
    """The members of a JSON object; of any other JSON none. The items of a list are several values."""
    if not isinstance(body, Mapping):
        return {}
    return {name: [ManyValues(value)] if isinstance(value, list) else [value] for name, value in body.items()}


class ManyValues(list[Any]):
    """A JSON list: several values, or for an argument whose type is ``list`` a single one."""


def is_json(mimetype: str) -> bool:
    """Whether a media type is JSON, or one with the suffix of RFC 6839."""
    return mimetype == "application/json" or (mimetype.startswith("application/") and mimetype.endswith("+json"))
