"""What a program says of its operations that their code does not: ``describe``, on views and what they depend on.

A description is an attribute of the thing that it describes. ``operations.py`` gathers those of one operation: its
routers', its class's, its view's and its route's, the nearer one winning, and what its dependencies add.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from microweb.errors import SetupError
from microweb.registrations import find_place

__all__ = ["Description", "Requirements", "Security", "describe", "find_description"]

Thing = TypeVar("Thing")
Security = str | Mapping[str, Iterable[str]] | Iterable[str | Mapping[str, Iterable[str]]]
"""What a program writes: a scheme, schemes with their scopes, all of which are needed, or a list of those."""
Requirements = list[dict[str, list[str]]]
"""Security requirements: one of them is enough, and all schemes in it are needed. Empty: none is."""

ATTRIBUTE = "__microweb_openapi__"


class Description:
    """Facts about an operation; a decorator, and a value for the route option ``openapi``. None is not said."""

    __slots__ = (
        "deprecated",
        "description",
        "examples",
        "hidden",
        "operation_id",
        "responses",
        "security",
        "summary",
        "tags",
    )

    def __init__(
        self,
        *,
        summary: str | None = None,
        description: str | None = None,
        tags: tuple[str, ...] | None = None,
        deprecated: bool | None = None,
        hidden: bool | None = None,
        operation_id: str | None = None,
        responses: Mapping[int, Any] | None = None,
        security: Requirements | None = None,
        examples: Mapping[str, Any] | None = None,
    ) -> None:
        self.summary = summary
        self.description = description
        self.tags = tags
        self.deprecated = deprecated
        self.hidden = hidden
        self.operation_id = operation_id
        self.responses = dict(responses or {})
        self.security = security
        self.examples = dict(examples or {})

    def __call__(self, thing: Thing) -> Thing:
        """Describe a view, a class of views, a dependency or a router; it is given back as it is.

        Raises:
            SetupError: it can hold no attributes.
        """
        known = find_description(thing)
        try:
            setattr(thing, ATTRIBUTE, self if known is None else self.over(known))
        except AttributeError:
            raise SetupError(
                f"describe(...) cannot mark {thing!r}, which holds no attributes; give the route openapi=describe(...) "
                f"({find_place()})"
            ) from None
        return thing

    def over(self, outer: Description) -> Description:
        """This description, with what it leaves open taken from another one."""
        plain = ("summary", "description", "tags", "deprecated", "hidden", "operation_id", "security")
        own = {name: getattr(self, name) for name in plain}
        given = {name: getattr(outer, name) if value is None else value for name, value in own.items()}
        responses = {**outer.responses, **self.responses}
        return Description(responses=responses, examples={**outer.examples, **self.examples}, **given)

    def with_needs_of(self, dependency: Description) -> Description:
        """This description, with the answers and the credentials that a dependency adds."""
        found = Description().over(self)
        found.responses = {**dependency.responses, **self.responses}
        if dependency.security:
            ours = self.security or [{}]
            found.security = [{**left, **right} for left in ours for right in dependency.security]
        return found


def find_description(thing: Any) -> Description | None:
    """What ``describe`` said of it; for a class also of the classes that it is derived from."""
    found: Description | None = getattr(thing, ATTRIBUTE, None)
    return found


def describe(
    *,
    summary: str | None = None,
    description: str | None = None,
    tags: Iterable[str] | None = None,
    deprecated: bool | None = None,
    hidden: bool | None = None,
    operation_id: str | None = None,
    responses: Mapping[int, Any] | None = None,
    security: Security | None = None,
    examples: Mapping[str, Any] | None = None,
) -> Description:
    """Say of an operation what its code does not; decorates views, ``MethodView`` classes, dependencies and routers.

    ``responses`` are its answers by status: a type (the JSON in the body), a text (what it means), both in a tuple, a
    dict (a Response Object as it is), or None: the type that the view is annotated to return. ``security`` names
    security schemes of which one is needed, ``()`` none. ``examples`` are values by the name of the view's parameter.
    What stands on a dependency adds answers and security to every operation that uses it.

    >>> from microweb import App
    >>> from microweb.openapi import OpenAPI, describe
    >>> app = App(__name__)
    >>> @app.get("/entries/<int:id>")
    ... @describe(responses={404: "There is no such entry."}, tags=["entries"])
    ... async def show(id: int) -> dict[str, int]:
    ...     '''One entry.'''
    ...     return {"id": id}
    >>> document = OpenAPI(app, title="Entries", version="1").make_document(app)
    >>> document["paths"]["/entries/{id}"]["get"]["responses"]["404"]["description"]
    'There is no such entry.'

    Raises:
        SetupError: a status is none, or tags or security are a shape that they cannot have.
    """
    keys: list[Any] = list(responses or ())
    for status in keys:
        if not isinstance(status, int) or not 100 <= status <= 599:
            raise SetupError(f"describe(responses=...) is by status from 100 to 599, not {status!r} ({find_place()})")
    if isinstance(tags, str):
        raise SetupError(f"describe(tags=...) is a list such as [{tags!r}], not a string ({find_place()})")
    return Description(
        summary=summary,
        description=description,
        tags=None if tags is None else tuple(tags),
        deprecated=deprecated,
        hidden=hidden,
        operation_id=operation_id,
        responses=responses,
        security=None if security is None else read_requirements(security),
        examples=examples,
    )


def read_requirements(security: Security) -> Requirements:
    """Names of schemes, or scopes by name, as Security Requirement Objects.

    Raises:
        SetupError: one is neither.
    """
    found: Requirements = []
    listed: Iterable[Any] = [security] if isinstance(security, (str, Mapping)) else security
    for each in listed:
        if isinstance(each, str):
            found.append({each: []})
        elif isinstance(each, Mapping) and not any(isinstance(scopes, str) for scopes in each.values()):
            found.append({name: list(scopes) for name, scopes in each.items()})
        else:
            raise SetupError(
                f"security=... takes names of security schemes, or {{name: [scopes]}}, not {each!r} ({find_place()})"
            )
    return found
