"""Marshalling: an answer made of an object by a set of fields, so that what the set does not name stays inside.

``marshal`` is the function, ``marshal_with`` and ``marshal_with_field`` put it behind a method. A return annotation
that is a struct does the same, and tells the API's documents as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, ValuesView
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from microweb import Response, after_this_request, request
from microweb.ext.rest.masks import Mask
from microweb.ext.rest.scalarfields import Raw

__all__ = ["FieldSet", "as_field", "marshal", "marshal_with", "marshal_with_field"]

FieldSet = Mapping[str, Any]
"""Names in the answer, each with a field, a class of fields, or a set of them."""

MASK_HEADER = "X-Fields"


def as_field(field: Any) -> Raw:
    """A field, of itself or of its class.

    Raises:
        TypeError: it is neither.
    """
    made = field() if isinstance(field, type) else field
    if not isinstance(made, Raw):
        raise TypeError(f"a field is fields.String, fields.Nested({{...}}) or the like, not {field!r}")
    return made


def is_several(data: Any) -> bool:
    """Whether each item is marshalled by itself; a named tuple, or a row of a database, is one object."""
    if isinstance(data, tuple):
        return not hasattr(data, "_fields")
    return isinstance(data, list | set | frozenset | ValuesView | Iterator)


def marshal(
    data: Any,
    fields: FieldSet,
    envelope: str | None = None,
    *,
    skip_none: bool = False,
    mask: str | Mask | None = None,
) -> Any:
    """What ``fields`` make of ``data``: a dict, or for a list of objects a list of them.

    ``envelope`` is a key to put it under; ``skip_none`` leaves out what is None or an empty dict; ``mask`` leaves out
    what it does not name.

    >>> from microweb.ext.rest import fields, marshal
    >>> marshal({"id": 7, "name": "Ada", "password": "x"}, {"id": fields.Integer, "name": fields.String})
    {'id': 7, 'name': 'Ada'}

    Raises:
        MarshallingException: a value cannot be written as its field says.
        BadRequest: the mask is malformed.
    """
    marshalled = marshal_all(data, fields, skip_none)
    if mask is not None:
        marshalled = (mask if isinstance(mask, Mask) else Mask(mask)).apply(marshalled)
    return marshalled if envelope is None else {envelope: marshalled}


def marshal_all(data: Any, fields: FieldSet, skip_none: bool) -> Any:
    """One object, or each of several."""
    if is_several(data):
        return [marshal_all(item, fields, skip_none) for item in data]
    marshalled: dict[str, Any] = {}
    for name, field in fields.items():
        if isinstance(field, Mapping):
            value = marshal_all(data, field, skip_none)
        else:
            value = as_field(field).output(name, data)
        if not (skip_none and (value is None or value == {})):
            marshalled[name] = value
    return marshalled


class marshal_with:  # noqa: N801 - used as a decorator
    """Marshal what a method returns; the status and headers beside it stay, and responses pass.

    A client may ask for less with the header ``X-Fields``; ``mask`` is what it gets if it does not. The method has no
    return annotation: this is its own filter.

    >>> from microweb.ext.rest import Resource, fields, marshal_with
    >>> class Person(Resource):
    ...     @marshal_with({"name": fields.String})
    ...     async def get(self, name: str):
    ...         return {"name": name, "password": "stays inside"}
    """

    def __init__(
        self, fields: FieldSet, envelope: str | None = None, *, skip_none: bool = False, mask: str | None = None
    ) -> None:
        self.fields = fields
        self.envelope = envelope
        self.skip_none = skip_none
        self.mask = None if mask is None else Mask(mask)

    def __call__(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method that is decorated, with its data marshalled."""
        return finished(method, self.marshal)

    def marshal(self, data: Any) -> Any:
        """``marshal`` with the mask of the current request."""
        asked = request.headers.get(MASK_HEADER)
        if asked is not None:
            after_this_request(vary_by_mask)
        mask = self.mask if asked is None else Mask(asked)
        return marshal(data, self.fields, self.envelope, skip_none=self.skip_none, mask=mask)


class marshal_with_field:  # noqa: N801 - used as a decorator
    """Marshal what a method returns as one value: ``@marshal_with_field(fields.List(fields.Integer))``."""

    def __init__(self, field: Raw | type[Raw]) -> None:
        self.field = as_field(field)

    def __call__(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method that is decorated, with its data marshalled."""
        return finished(method, self.field.convert)


def finished(method: Callable[..., Any], finish: Callable[[Any], Any]) -> Callable[..., Any]:
    """``method`` with the data that it returns passed through ``finish``."""

    def finish_answer(value: Any) -> Any:
        if isinstance(value, Response):
            return value
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return (finish(value[0]), *value[1:]) if value else value
        return finish(value)

    @wraps(method)
    async def run_async(*args: Any, **values: Any) -> Any:
        return finish_answer(await method(*args, **values))

    @wraps(method)
    def run(*args: Any, **values: Any) -> Any:
        return finish_answer(method(*args, **values))

    return run_async if iscoroutinefunction(method) else run


async def vary_by_mask(response: Response) -> None:
    """Tell caches that another client gets other fields."""
    response.headers.vary(MASK_HEADER)
