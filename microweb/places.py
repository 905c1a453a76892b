"""The places in a request that parameters are filled from: query, headers, cookies, forms, files and the JSON body.

``READERS`` has for each place the function that makes a ``Parameter`` of a name, a type and a default; its ``fill``
takes a request to the value, or raises ``Refused``. Which place it is, is decided in ``parameterreading.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_origin

from microweb import json
from microweb.defaults import make_completer
from microweb.formreading import Form as ReadForm
from microweb.headers import find_header
from microweb.markers import Body, Cookie, Form, Header, Query, Source
from microweb.multidict import MultiDict
from microweb.parameters import MISSING, Parameter, Refused, refuse_invalid, refuse_value
from microweb.problems import MOST_PROBLEMS, Invalid, convert, find_problems, find_unknown
from microweb.pydanticvalues import make_pydantic_plain_converter
from microweb.requests import is_json, not_json
from microweb.structs import (
    MAPPINGS,
    choices,
    find_fields,
    flatten,
    has_structs,
    is_list,
    is_pydantic,
    is_struct,
    is_switch,
    takes_text,
)
from microweb.uploads import SyncUploadFile, UploadFile
from microweb.validation import (
    SWITCHES,
    check_type,
    make_body_decoder,
    make_quick_decoder,
    make_text_converter,
)
from microweb.wholenumbers import rewrite_whole_numbers

__all__ = ["READERS", "header_name", "is_upload", "read_body"]

FILES = (UploadFile, SyncUploadFile)

GIVEN_ONCE = ("query", "form")
"""Where a value that is no list may not be repeated: two readers of one request might take different ones. Headers and
cookies are repeated by what stands in between."""
REPEATED = "is given more than once"

# Texts -----------------------------------------------------------------------------------------------


def read_named(name: str, kind: Any, marker: Source, default: Any, read: Callable[[Any], Any], alias: str) -> Parameter:
    """A parameter that is one entry, or all entries of one name, of a multi-dict of texts."""
    place = marker.place
    options = choices(kind)
    if len(options) == 1 and is_struct(options[0]):
        return read_whole(name, options[0], marker, default, read)
    if has_structs(kind):
        raise TypeError("no text can be a struct; one struct alone is made of everything there")
    if any((get_origin(option) or option) in MAPPINGS for option in options):
        raise TypeError("no text can be a dict; a struct is made of everything there")
    convert = make_text_converter(kind)
    several, may_be_empty = is_list(kind), takes_text(kind)
    only_once = place in GIVEN_ONCE and not several

    def fill(request: Any) -> Any:
        values = read(request)
        value = (values.getlist(alias) or None) if several else values.get(alias)
        if only_once and value is not None and len(values.getlist(alias)) > 1:
            raise refuse_value(place, alias, REPEATED)
        if value is None or (value == "" and not may_be_empty):
            if default is MISSING:
                raise refuse_value(place, alias, "is missing")
            return default
        if convert is None:
            return value
        try:
            return convert(value)
        except Invalid as invalid:
            raise refuse_invalid(place, alias, invalid) from None

    return Parameter(name, place, alias=alias, type=kind, default=default, fill=fill)


def read_whole(name: str, kind: Any, marker: Source, default: Any, read: Callable[[Any], Any]) -> Parameter:
    """A parameter that is a struct made of everything in a multi-dict of texts."""
    place, forbids = marker.place, marker.forbid_unknown
    convert = make_text_converter(kind)
    assert convert is not None
    for field in find_fields(kind):
        needs_struct = has_structs(field.hint) and all(map(has_structs, choices(field.hint)))
        if field.required and needs_struct and not is_pydantic(kind):
            raise TypeError(f"its field {field.name!r} is a struct, and no text can be one")
    to_key: Callable[[str], str] = header_name if place == "header" else str
    fields = [
        (field.key, to_key(field.key), is_list(field.hint), takes_text(field.hint), is_switch(field.hint))
        for field in find_fields(kind)
    ]
    known = {key for _, key, _, _, _ in fields}
    singles = [key for _, key, several, _, _ in fields if not several] if place in GIVEN_ONCE else []

    def fill(request: Any) -> Any:
        values = read(request)
        plain: dict[str, Any] = {}
        for key, alias, several, may_be_empty, may_be_switch in fields:
            value = (values.getlist(alias) or None) if several else values.get(alias)
            if value is not None and (value != "" or may_be_empty):
                plain[key] = SWITCHES.get(value.lower(), value) if may_be_switch else value
        unknown = [key for key in values if key not in known] if forbids else []
        errors = [{"in": place, "name": key, "reason": "is not known"} for key in unknown[:MOST_PROBLEMS]]
        errors += [{"in": place, "name": key, "reason": REPEATED} for key in singles if len(values.getlist(key)) > 1]
        result = None
        try:
            result = convert(plain)
        except Invalid as invalid:
            errors += refuse_invalid(place, "", invalid).errors
        if errors:
            if not plain and not unknown and default is not MISSING:
                return default
            raise Refused(errors)
        return result

    return Parameter(name, place, type=kind, default=default, fill=fill, forbids_unknown=forbids)


def read_query(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    return read_named(name, kind, marker, default, lambda request: request.args, marker.name or name)


def read_cookie(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    return read_named(name, kind, marker, default, lambda request: request.cookies, marker.name or name)


def header_name(name: str) -> str:
    """The header that a Python name stands for: ``x_token`` for ``x-token``."""
    return name.replace("_", "-")


def read_header(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    alias = marker.name or header_name(name).title()
    options = choices(kind)
    fields = find_fields(options[0]) if len(options) == 1 and is_struct(options[0]) else ()
    if is_list(kind) or any(is_list(field.hint) for field in fields):
        return read_named(name, kind, marker, default, lambda request: ListHeaders(request.headers), alias)
    return read_named(name, kind, marker, default, lambda request: request.headers, alias)


class ListHeaders:
    """The headers of a request, of which those that are read as lists are several lines, or one with commas.

    Both mean the same, and an empty item means nothing (RFC 9110 §5.3, §5.6.1.2).
    """

    def __init__(self, headers: Any) -> None:
        self.headers = headers

    def get(self, name: str) -> str | None:
        """The one value of a header."""
        value: str | None = self.headers.get(name)
        return value

    def getlist(self, name: str) -> list[str]:
        """The items of a header."""
        items = [item.strip() for line in self.headers.getlist(name) for item in line.split(",")]
        return [item for item in items if item]

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)


# Forms and files -------------------------------------------------------------------------------------


def form_of(request: Any) -> ReadForm:
    """The form, which was read before any parameter is filled."""
    form: ReadForm = request._form
    return form


def read_form_field(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    alias = marker.name or name
    if is_upload(kind):
        return read_file(name, kind, alias, default)
    return read_named(name, kind, marker, default, lambda request: form_of(request).fields, alias)


def is_upload(hint: Any) -> bool:
    """Whether a value of this type is an uploaded file, or several."""
    return any(kind in FILES for kind in flatten(hint))


def read_file(name: str, kind: Any, alias: str, default: Any) -> Parameter:
    several = is_list(kind)
    in_thread = SyncUploadFile in flatten(kind)

    def fill(request: Any) -> Any:
        form = form_of(request)
        files: MultiDict[Any] = form.sync_files if in_thread else form.files
        # An input in which no file was chosen is sent with an empty name.
        found = [file for file in files.getlist(alias) if file]
        if not found:
            if form.fields.get(alias):
                # The browser's form lacks enctype="multipart/form-data", or the client sent no filename.
                raise refuse_value("form", alias, "expected a file, got text")
            if default is MISSING:
                raise refuse_value("form", alias, "is missing")
            return default
        if len(found) > 1 and not several:
            raise refuse_value("form", alias, REPEATED)
        return found if several else found[0]

    return Parameter(name, "file", alias=alias, type=kind, default=default, fill=fill)


# JSON bodies -----------------------------------------------------------------------------------------

NOTHING = object()


def read_body(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    """A parameter that is the JSON body, or the value under one key of it.

    Raises:
        TypeError: no JSON can be of its type.
    """
    if marker.name:
        return read_body_key(name, kind, marker, default)
    decode = make_body_decoder(kind, forbid_unknown=marker.forbid_unknown)
    convert = make_plain_converter(kind, forbid_unknown=marker.forbid_unknown)

    def fill(request: Any) -> Any:
        body: bytes = request._connection.cached
        if not body and default is not MISSING:
            return default
        try:
            if has_json(request):
                return decode(body, request.limits.json_max_depth)
            return convert(read_other_body(request, body))
        except Invalid as invalid:
            raise refuse_invalid("body", "", invalid) from None

    parameter = Parameter(name, "body", type=kind, default=default, fill=fill, forbids_unknown=marker.forbid_unknown)
    parameter.decode = decode
    if not is_pydantic(kind) and not marker.forbid_unknown:
        parameter.quick = make_quick_decoder(kind)
    return parameter


def read_body_key(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    """A parameter that is one value of the object in the body."""
    alias = marker.name
    assert alias is not None
    convert = make_plain_converter(kind, forbid_unknown=marker.forbid_unknown)

    def fill(request: Any) -> Any:
        body: bytes = request._connection.cached
        value = NOTHING
        if body or default is MISSING:
            if request._json_value is None:
                request._json_value = (
                    json.loads(body, max_depth=request.limits.json_max_depth)
                    if has_json(request)
                    else read_other_body(request, body)
                )
            if not isinstance(request._json_value, dict):
                raise refuse_value("body", "", "expected object")
            value = request._json_value.get(alias, NOTHING)
        if value is NOTHING:
            if default is MISSING:
                raise refuse_value("body", alias, "is missing")
            return default
        try:
            return convert(value)
        except Invalid as invalid:
            raise refuse_invalid("body", alias, invalid) from None

    return Parameter(
        name, "body", alias=alias, type=kind, default=default, fill=fill, forbids_unknown=marker.forbid_unknown
    )


def make_plain_converter(kind: Any, *, forbid_unknown: bool = False) -> Callable[[Any], Any]:
    """A function from plain values, those of JSON or of another representation, to a type; it raises ``Invalid``."""
    if is_pydantic(kind):
        return make_pydantic_plain_converter(kind, forbid_unknown=forbid_unknown)
    check_type(kind)
    complete = make_completer(kind, {})

    def convert_plain(value: Any) -> Any:
        try:
            converted = convert(value, kind, strict=True)
        except ValueError as error:
            whole = rewrite_whole_numbers(value)
            if whole is not None:
                return convert_plain(json.loads(whole, max_depth=10_000))
            raise Invalid(find_problems(value, kind, str(error), strict=True)) from None
        if complete is not None:
            complete(converted)
        if forbid_unknown and (unknown := find_unknown(value, kind)):
            raise Invalid([(path, "is not a known field") for path in unknown[:MOST_PROBLEMS]])
        return converted

    return convert_plain


def has_json(request: Any) -> bool:
    """Whether the Content-Type of a request says JSON."""
    content_type = find_header(request.scope["headers"], b"content-type")
    return content_type == b"application/json" or is_json(content_type)


def read_other_body(request: Any, body: bytes) -> Any:
    """The plain values in a body of another type than JSON.

    Raises:
        UnsupportedMediaType: nothing is registered that reads it; what could be read is named.
        BadRequest: it cannot be read.
    """
    representations = request._target.representations
    if representations is None:
        raise not_json(request)
    return representations.read(body, request.content_type, request.limits.json_max_depth)


READERS: dict[str, Callable[[str, Any, Source, Any], Parameter]] = {
    Query.place: read_query,
    Header.place: read_header,
    Cookie.place: read_cookie,
    Form.place: read_form_field,
    Body.place: read_body,
}
