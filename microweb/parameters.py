"""The parameters of views and dependencies that are filled from a request: read, checked, and how to fill
them.

``read_parameter`` turns one parameter of a signature into a ``Parameter``, at start-up, or refuses it with a
``SetupError``. ``dependencies.py`` calls it for whatever is no path variable and not the request, and then
asks each ``Parameter`` for its value. Documents of the API are written from the same objects.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin

from microweb import json
from microweb.callables import Unresolved, describe, is_async, locate
from microweb.errors import SetupError
from microweb.formreading import Form as ReadForm
from microweb.headers import find_header
from microweb.incoming import Incoming
from microweb.markers import Body, Cookie, Depends, Form, Header, Query, Source
from microweb.multidict import MultiDict
from microweb.requests import is_json, not_json
from microweb.structs import (
    bare,
    choices,
    find_fields,
    has_structs,
    is_list,
    is_pydantic,
    is_struct,
    is_switch,
    takes_text,
)
from microweb.uploads import SyncUploadFile, UploadFile
from microweb.validation import (
    MOST_PROBLEMS,
    SWITCHES,
    Invalid,
    check_type,
    find_problems,
    find_unknown,
    make_body_decoder,
    make_completer,
    make_quick_decoder,
    make_text_converter,
)
from microweb.wholenumbers import rewrite_whole_numbers

__all__ = ["Parameter", "Refused", "read_parameter", "split_hint"]

MISSING: Any = inspect.Parameter.empty
FILES = (UploadFile, SyncUploadFile)

Fill = Callable[[Any], Any]


class Refused(Exception):
    """A parameter that cannot be filled from this request; ``errors`` as in ``InvalidParameters``."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__(errors)
        self.errors = errors


class Parameter:
    """One parameter of a view, hook or dependency, and where its value comes from.

    ``place`` is ``path``, ``request``, ``query``, ``header``, ``cookie``, ``form``, ``file``, ``body`` or
    ``depends``; ``alias`` what the value is called there, ``""`` if it is made of all of that place; ``type``
    the annotation without our markers.
    """

    __slots__ = (
        "alias",
        "decode",
        "default",
        "dependency",
        "fill",
        "forbids_unknown",
        "name",
        "place",
        "quick",
        "type",
    )

    def __init__(
        self,
        name: str,
        place: str,
        *,
        alias: str = "",
        type: Any = Any,
        default: Any = MISSING,
        fill: Fill | None = None,
        forbids_unknown: bool = False,
        dependency: Any = None,
    ) -> None:
        self.name = name
        self.place = place
        self.alias = alias
        self.type = type
        self.default = default
        """The value that stands for a missing one; ``inspect.Parameter.empty`` if it must be there."""
        self.fill = fill
        self.decode: Callable[[bytes, int], Any] | None = None
        """Of a parameter that is the whole JSON body: from its bytes and the greatest depth to the value."""
        self.quick: Callable[[bytes], Any] | None = None
        """The same for the body that is right and not too deep, where msgspec alone reads it."""
        self.forbids_unknown = forbids_unknown
        self.dependency = dependency
        """What ``Depends`` names, planned; a ``dependencies.Node``."""

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is MISSING

    def __repr__(self) -> str:
        return f"<Parameter {self.name} from {self.place}{f' {self.alias!r}' if self.alias else ''}>"


def split_hint(hint: Any) -> tuple[Any, Source | Depends | None]:
    """An annotation without our marker, and the marker."""
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *metadata = get_args(hint)
    markers = [make_marker(each) for each in metadata if is_marker(each)]
    others = [each for each in metadata if not is_marker(each)]
    if others:
        kind = Annotated[(kind, *others)]
    return kind, markers[0] if markers else None


def is_marker(value: Any) -> bool:
    return isinstance(value, Source | Depends) or (isinstance(value, type) and issubclass(value, Source | Depends))


def make_marker(value: Any) -> Any:
    """``Query`` stands for ``Query()``."""
    return value() if isinstance(value, type) else value


def read_parameter(parameter: inspect.Parameter, hint: Any, function: Callable[..., Any], what: str) -> Parameter:
    """Decide where one parameter comes from; for ``Depends`` only that, the caller plans the dependency.

    Raises:
        SetupError: nothing says where, or no value of its type can come from there.
    """
    name, default = parameter.name, parameter.default

    def refuse(problem: str) -> SetupError:
        return SetupError(f"{what} {describe(function)}: the parameter {name!r} {problem} ({locate(function)})")

    if isinstance(hint, Unresolved):
        raise refuse(f"is annotated {hint.text!r}, which cannot be resolved: {hint.problem}")
    if is_marker(default):
        raise refuse(f"has a marker for its default; write it as Annotated[..., {default!r}]")
    kind, marker = split_hint(hint)
    if isinstance(marker, Depends):
        return Parameter(name, "depends", type=kind, default=MISSING)
    if marker is None:
        marker = guess_source(kind)
        if marker is None:
            raise refuse(
                f"is annotated {describe_hint(kind)}, which does not say where it comes from; write "
                "Annotated[..., Query()] or Header(), Cookie(), Form(), Body(), Depends(function)"
            )
    if UploadFile in flatten(kind) and not is_async(function):
        raise refuse("is an UploadFile, whose methods are awaited; a plain def takes SyncUploadFile")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise refuse("is positional-only; leave out the slash")
    try:
        return READERS[marker.place](name, kind, marker, default)
    except Exception as error:  # noqa: BLE001 - looking at a type may raise anything
        raise refuse(f"cannot be read as {describe_hint(kind)}: {error}") from None


def describe_hint(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)


def guess_source(hint: Any) -> Source | None:
    """Where an annotated parameter without a marker comes from."""
    if is_upload(hint):
        return Form()
    if has_structs(hint):
        # Of a JSON body only, also where a form would do: a form can be sent from any other site without asking
        # first, and whoever writes a JSON view counts on the browser asking.
        # SECURITY: test_binding.py::test_a_struct_is_never_read_from_a_form_unless_it_says_so
        return Body()
    return Query() if is_scalar(hint) else None


def is_scalar(hint: Any) -> bool:
    """Whether one text, or several, can make a value of this type."""
    found = choices(hint)
    return (
        bool(found)
        and all(
            all(map(is_scalar, [each for each in get_args(choice) if each is not ...]))
            if is_list(choice)
            else is_literal(choice) or (isinstance(choice, type) and not issubclass(choice, dict | Incoming))
            for choice in found
        )
        and not is_any(hint)
    )


def is_literal(hint: Any) -> bool:
    from typing import Literal

    return get_origin(hint) is Literal


def is_any(hint: Any) -> bool:
    return bare(hint) in (Any, object)


def is_upload(hint: Any) -> bool:
    return any(kind in FILES for kind in flatten(hint))


def flatten(hint: Any) -> list[Any]:
    """The members of a union, and what its lists are made of."""
    return [each for choice in choices(hint) for each in (choice, *get_args(choice))]


# Where values come from ------------------------------------------------------------------------------


def refuse_value(place: str, alias: str, reason: str) -> Refused:
    return Refused([{"in": place, "name": alias, "reason": reason}])


def refuse_invalid(place: str, alias: str, invalid: Invalid) -> Refused:
    errors = []
    for path, reason in invalid.problems:
        inside = f"{alias}{path}" if path.startswith("[") or not path or not alias else f"{alias}.{path}"
        errors.append({"in": place, "name": inside, "reason": reason})
    return Refused(errors)


def read_named(name: str, kind: Any, marker: Source, default: Any, read: Callable[[Any], Any], alias: str) -> Parameter:
    """A parameter that is one entry, or all entries of one name, of a multi-dict of texts."""
    place = marker.place
    options = choices(kind)
    if len(options) == 1 and is_struct(options[0]):
        return read_whole(name, options[0], marker, default, read)
    if has_structs(kind):
        raise TypeError("no text can be a struct; one struct alone is made of everything there")
    convert = make_text_converter(kind)
    several, may_be_empty = is_list(kind), takes_text(kind)

    def fill(request: Any) -> Any:
        values = read(request)
        value = (values.getlist(alias) or None) if several else values.get(alias)
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
    to_key: Callable[[str], str] = header_name if place == "header" else str
    fields = [
        (field.key, to_key(field.key), is_list(field.hint), takes_text(field.hint), is_switch(field.hint))
        for field in find_fields(kind)
    ]
    known = {key for _, key, _, _, _ in fields}

    def fill(request: Any) -> Any:
        values = read(request)
        plain: dict[str, Any] = {}
        for key, alias, several, may_be_empty, may_be_switch in fields:
            value = (values.getlist(alias) or None) if several else values.get(alias)
            if value is not None and (value != "" or may_be_empty):
                plain[key] = SWITCHES.get(value.lower(), value) if may_be_switch else value
        errors: list[dict[str, str]] = []
        if forbids:
            errors = [{"in": place, "name": key, "reason": "is not known"} for key in values if key not in known]
        result = None
        try:
            result = convert(plain)
        except Invalid as invalid:
            errors += refuse_invalid(place, "", invalid).errors
        if errors:
            if not plain and not forbids and default is not MISSING:
                return default
            raise Refused(errors)
        return result

    return Parameter(name, place, type=kind, default=default, fill=fill, forbids_unknown=forbids)


def read_query(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    return read_named(name, kind, marker, default, lambda request: request.args, marker.name or name)


def read_cookie(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    return read_named(name, kind, marker, default, lambda request: request.cookies, marker.name or name)


def header_name(name: str) -> str:
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


def form_of(request: Any) -> ReadForm:
    """The form, which was read before any parameter is filled."""
    form: ReadForm = request._form
    return form


def read_form_field(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
    alias = marker.name or name
    if is_upload(kind):
        return read_file(name, kind, alias, default)
    return read_named(name, kind, marker, default, lambda request: form_of(request).fields, alias)


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
        return found if several else found[0]

    return Parameter(name, "file", alias=alias, type=kind, default=default, fill=fill)


NOTHING = object()


def read_body(name: str, kind: Any, marker: Source, default: Any) -> Parameter:
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
    convert = make_plain_converter(kind)

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

    return Parameter(name, "body", alias=alias, type=kind, default=default, fill=fill)


def make_plain_converter(kind: Any, *, forbid_unknown: bool = False) -> Callable[[Any], Any]:
    """A function from plain values, those of JSON or of another representation, to a type; it raises ``Invalid``."""
    if is_pydantic(kind):
        convert = make_text_converter(kind)
        assert convert is not None
        return convert
    import msgspec

    check_type(kind)
    complete = make_completer(kind, {})

    def convert_plain(value: Any) -> Any:
        try:
            converted = msgspec.convert(value, kind, str_keys=True)
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
