"""The whole document: operations by path, the components that they share, tags and what the program adds.

Made from what is registered, by the extension, the page and the command line; nothing of the app is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microweb.app import App
from microweb.errors import SetupError
from microweb.openapi.addresses import list_addresses, shape_of
from microweb.openapi.descriptions import Requirements
from microweb.openapi.operations import Operation
from microweb.openapi.schemas import Schemas

__all__ = ["make_document"]

METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")
"""Those that a Path Item Object has a place for."""


def make_document(
    app: App,
    *,
    info: dict[str, Any],
    servers: list[dict[str, Any]],
    tags: Mapping[str, str],
    security_schemes: Mapping[str, dict[str, Any]],
    security: Requirements,
    responses: dict[int, Any],
) -> dict[str, Any]:
    """The OpenAPI document of an app.

    Raises:
        SetupError: the routes cannot be put together, or a security scheme is named that is none.
    """
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    used: dict[str, None] = {}
    taken: set[str] = set()
    check_security(security, security_schemes, "OpenAPI(security=...)")
    for operation in list_operations(app):
        operation_id = choose_id(operation, taken)
        where = f"the operation {operation.address.endpoint!r} ({operation.route.place})"
        check_security(operation.description.security or [], security_schemes, where)
        written = operation.write(schemas, responses=responses, security=security, operation_id=operation_id)
        used.update(dict.fromkeys(written.get("tags", ())))
        paths.setdefault(operation.address.template, {})[operation.method.lower()] = written
    document: dict[str, Any] = {"openapi": "3.1.0", "info": info, "servers": servers, "paths": paths}
    components = {"schemas": schemas.components, "securitySchemes": dict(security_schemes)}
    document["components"] = {name: found for name, found in components.items() if found}
    if security:
        document["security"] = security
    names = dict.fromkeys([*tags, *used])
    document["tags"] = [{"name": name} | ({"description": tags[name]} if name in tags else {}) for name in names]
    return document


def list_operations(app: App) -> list[Operation]:
    """Every operation that is shown, those of one path together, under one name for its variables.

    Of two that OpenAPI cannot tell apart, whose rules differ in their converters only, the one that is registered
    first is kept.
    """
    groups: dict[str, dict[str, Operation]] = {}
    templates: dict[str, str] = {}
    for address in list_addresses(app):
        shape = shape_of(address.template)
        template = templates.setdefault(shape, address.template)
        if template != address.template:
            names = dict(zip(read_names(template), address.variables.values(), strict=True))
            address = address._replace(template=template, variables=names)
        for method in METHODS:
            if method in address.methods and method not in groups.get(shape, ()):
                operation = Operation(address, method)
                if not operation.is_hidden:
                    groups.setdefault(shape, {})[method] = operation
    for operations in groups.values():
        rules = {
            operation.address.target.route.rule for operation in operations.values() if operation.address.target.route
        }
        for operation in operations.values():
            operation.meets_others = len(rules) > 1
    return [operation for operations in groups.values() for operation in operations.values()]


def read_names(template: str) -> list[str]:
    """The names of a template's variables, in order."""
    return [part.partition("}")[0] for part in template.split("{")[1:]]


def choose_id(operation: Operation, taken: set[str]) -> str:
    """Its name, or with its method or a number behind it where that is taken."""
    name = operation.operation_id
    candidates = [name, f"{name}_{operation.method.lower()}"]
    number = 1
    while candidates[0] in taken:
        candidates.pop(0)
        if not candidates:
            number += 1
            candidates.append(f"{name}_{operation.method.lower()}_{number}")
    taken.add(candidates[0])
    return candidates[0]


def check_security(security: Requirements, schemes: Mapping[str, Any], where: str) -> None:
    """Refuse the names of schemes that are nowhere explained.

    Raises:
        SetupError: there is one.
    """
    for name in [name for requirement in security for name in requirement]:
        if name not in schemes:
            known = ", ".join(map(repr, schemes)) or "none"
            raise SetupError(f"OpenAPI(security_schemes=...) has no {name!r}, but {known}; it is named by {where}")
