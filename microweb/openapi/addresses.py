"""The rules of an app as OpenAPI writes them: templates of paths, the schemas of their variables, servers.

Goes through the table as ``microweb routes`` does, through mounted microweb apps too. Websockets, foreign apps and
static files have no place in the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from microweb.app import App
from microweb.assembly import Assembly, Placement, Target
from microweb.converters import (
    AnyConverter,
    Converter,
    FloatConverter,
    IntConverter,
    PathConverter,
    StringConverter,
    UUIDConverter,
)
from microweb.patterns import HostPattern, Pattern, Variable
from microweb.quoting import quote_segment
from microweb.staticfolder import StaticFolder

__all__ = ["Address", "list_addresses", "make_path_parameter", "make_server", "shape_of"]


class Address(NamedTuple):
    """One rule at its place in the whole of what is served."""

    app: App
    """The app that it belongs to: the outermost, or one that is mounted in it."""
    target: Target
    template: str
    variables: dict[str, Variable]
    """The variables of its path by their names in the template."""
    host: HostPattern | None
    endpoint: str
    tag: str
    methods: frozenset[str]
    outside: tuple[Target, ...]
    """The mounts that the app stands in, the nearest first."""

    @property
    def owners(self) -> list[Placement]:
        """Where it stands, and what may own its path when a variable in a prefix does not take it."""
        found: list[Placement] = []
        for target in (self.target, *self.outside):
            here: Placement | None = target.placement
            while here is not None and (not found or self.variables):
                found.append(here)
                here = here.parent if here.prefix.variables else None
        return found


class Outside(NamedTuple):
    """What stands around the rules of an app: nothing, or what it is mounted at."""

    prefix: str = ""
    variables: dict[str, Variable] = {}
    name: str = ""
    host: HostPattern | None = None
    mounts: tuple[Target, ...] = ()


NOTHING = Outside()


def list_addresses(app: App, outside: Outside = NOTHING) -> Iterator[Address]:
    """The HTTP routes of an app, as registered, then those of the apps mounted in it.

    Raises:
        SetupError: the routes cannot be put together.
    """
    mounted: list[tuple[App, Outside]] = []
    for rule in Assembly(app).table.rules:
        target = rule.target
        path, variables = write_template(rule.pattern, dict(outside.variables))
        template = outside.prefix + path
        host = outside.host if rule.host is None else rule.host
        if target.mount is not None and isinstance(target.mount.target, App):
            name = join(outside.name, target.placement.name, target.mount.name)
            mounts = (target, *outside.mounts)
            mounted.append((target.mount.target, Outside(template, variables, name, host, mounts)))
        elif target.route is not None and rule.methods is not None and not is_static(target):
            endpoint = join(outside.name, target.endpoint)
            tag = join(outside.name, target.placement.name)
            yield Address(app, target, template, variables, host, endpoint, tag, rule.methods, outside.mounts)
    for inner, around in mounted:
        yield from list_addresses(inner, around)


def join(*names: str | None) -> str:
    """Those of the names that there are, with dots between them."""
    return ".".join(name for name in names if name)


def is_static(target: Target) -> bool:
    """Whether it serves a static folder."""
    return target.route is not None and isinstance(getattr(target.route.view, "__self__", None), StaticFolder)


def write_template(pattern: Pattern, variables: dict[str, Variable]) -> tuple[str, dict[str, Variable]]:
    """The template of a pattern, and its variables beside those of the prefix."""
    path = ""
    for segment in pattern.segments:
        path += "/"
        for part in segment.parts:
            if isinstance(part, str):
                path += quote_segment(part)
                continue
            name = part.name
            while name in variables:  # A mounted app may call a variable as the prefix that it is mounted at does.
                name += "_"
            variables[name] = part
            path += f"{{{name}}}"
    return (path + "/" if pattern.trailing_slash else path), variables


def shape_of(template: str) -> str:
    """Equal for templates that OpenAPI cannot tell apart: they differ in the names of variables only."""
    return re.sub(r"\{[^}]*\}", "{}", template)


def make_path_parameter(name: str, variable: Variable) -> dict[str, Any]:
    """The Parameter Object of a variable."""
    parameter: dict[str, Any] = {"name": name, "in": "path", "required": True}
    if isinstance(variable.converter, PathConverter):
        parameter["description"] = "The rest of the path; slashes may stand in it."
    return parameter | {"schema": make_schema(variable.converter)}


def make_schema(converter: Converter) -> dict[str, Any]:
    """What a converter takes."""
    if isinstance(converter, IntConverter):
        if converter.fixed_digits:
            return {"type": "string", "pattern": f"^[0-9]{{{converter.fixed_digits}}}$"}
        return {"type": "integer"} | make_range(converter)
    if isinstance(converter, FloatConverter):
        return {"type": "number"} | make_range(converter)
    if isinstance(converter, UUIDConverter):
        return {"type": "string", "format": "uuid"}
    if isinstance(converter, AnyConverter):
        return {"type": "string", "enum": list(converter.items)}
    if isinstance(converter, StringConverter):
        longest = {} if converter.maxlength is None else {"maxLength": converter.maxlength}
        return {"type": "string", "minLength": converter.minlength} | longest
    if isinstance(converter, PathConverter):
        return {"type": "string", "minLength": 1, "pattern": "^[^/]"}
    # A group with a question mark may be one that JSON Schema's regular expressions do not have.
    is_portable = "(?" not in converter.regex.replace("(?:", "")
    return {"type": "string", "minLength": 1} | ({"pattern": f"^(?:{converter.regex})$"} if is_portable else {})


def make_range(converter: IntConverter | FloatConverter) -> dict[str, Any]:
    low = converter.min if converter.signed or converter.min is not None else 0
    limits = {"minimum": low, "maximum": converter.max}
    return {name: value for name, value in limits.items() if value is not None}


def make_server(host: HostPattern) -> dict[str, Any]:
    """The Server Object of the host that a rule is bound to."""
    server: dict[str, Any] = {"url": "//"}
    names: dict[str, Any] = {}
    labels = []
    for segment in host.segments:
        labels.append("".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in segment.parts))
        names.update({variable.name: {"default": variable.name} for variable in segment.variables})
    server["url"] += ".".join(labels)
    return server | ({"variables": names} if names else {})
