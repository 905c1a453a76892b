"""Fields for ``marshal`` and ``marshal_with``: ``from microweb.ext.rest import fields``.

Here are those that hold other fields, and ``Url``, which asks the app; the others come from ``scalarfields.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microweb import request, url_for
from microweb.errors import BuildError
from microweb.ext.rest.marshalling import FieldSet, as_field, is_several, marshal_all
from microweb.ext.rest.scalarfields import (
    Arbitrary,
    Attribute,
    Boolean,
    DateTime,
    Fixed,
    Float,
    FormattedString,
    Integer,
    MarshallingException,
    Price,
    Raw,
    String,
    get_value,
)

__all__ = [
    "Arbitrary",
    "Boolean",
    "DateTime",
    "Fixed",
    "Float",
    "FormattedString",
    "Integer",
    "List",
    "MarshallingException",
    "Nested",
    "Price",
    "Raw",
    "String",
    "Url",
    "get_value",
]


class Nested(Raw):
    """An object of its own, or several: ``fields.Nested({"city": fields.String})``.

    None becomes None with ``allow_null``, else ``default`` if one is given, else an object of the fields' defaults.
    """

    def __init__(
        self,
        nested: FieldSet,
        allow_null: bool = False,
        *,
        skip_none: bool = False,
        default: Any = None,
        attribute: Attribute = None,
    ) -> None:
        super().__init__(default, attribute)
        self.nested = nested
        self.allow_null = allow_null
        self.skip_none = skip_none

    def convert(self, value: Any) -> Any:
        """The object, marshalled."""
        if value is None and (self.allow_null or self.default is not None):
            return None if self.allow_null else self.default
        return marshal_all(value, self.nested, self.skip_none)


class List(Raw):
    """A list of values of one kind: ``fields.List(fields.String)``; one value is a list of one."""

    def __init__(self, container: Raw | type[Raw], *, default: Any = None, attribute: Attribute = None) -> None:
        super().__init__(default, attribute)
        self.container = as_field(container)

    def format(self, value: Any) -> Any:
        """The list."""
        container = self.container
        items = list(value) if is_several(value) else [value]
        if container.takes_whole or container.attribute is not None:
            return [container.output(position, item) for position, item in enumerate(items)]
        return [container.convert(item) for item in items]


class Url(Raw):
    """The URL of an endpoint, by default the current one, with the object's own values in its path.

    ``absolute`` gives a whole URL, with the request's scheme unless ``scheme`` names another.
    """

    takes_whole = True

    def __init__(self, endpoint: str | None = None, absolute: bool = False, scheme: str | None = None) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.absolute = absolute
        self.scheme = scheme

    def output(self, key: Any, source: Any) -> Any:
        """The URL, without a query.

        Raises:
            MarshallingException: the endpoint is not there, or ``source`` lacks what its path needs.
        """
        endpoint = self.endpoint or request.endpoint
        if endpoint is None:
            raise MarshallingException(f"Url() of {key!r} needs an endpoint: no view is current")
        values = {name: value for name, value in values_of(source).items() if fits(name, value)}
        try:
            url = url_for(
                endpoint, _external=self.absolute or None, _scheme=self.scheme if self.absolute else None, **values
            )
        except BuildError as error:
            raise MarshallingException(f"Url({endpoint!r}) of {key!r}: {error}") from error
        return url.partition("?")[0]


def values_of(source: Any) -> Mapping[str, Any]:
    """The values of an object by name."""
    if isinstance(source, Mapping):
        return source
    if hasattr(source, "_asdict"):  # A named tuple, or a row of a database.
        found: Mapping[str, Any] = source._asdict()
        return found
    slots = [name for kind in type(source).__mro__ for name in getattr(kind, "__slots__", ())]
    names = [*getattr(source, "__dict__", ()), *getattr(source, "__struct_fields__", ()), *slots]
    return {name: getattr(source, name) for name in names if hasattr(source, name)}


def fits(name: Any, value: Any) -> bool:
    """Whether a value may stand in a path: ``url_for`` has parameters of its own, and a list is no segment."""
    is_plain = value is not None and not isinstance(value, Mapping | list | set)
    return isinstance(name, str) and not name.startswith("_") and name != "endpoint" and is_plain
