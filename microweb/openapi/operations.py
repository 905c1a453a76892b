"""One operation of the document: a method at an address, with what it takes, answers, and is described as."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from microweb.assembly import Target
from microweb.binding import Plan, make_plan
from microweb.callables import unwrapped
from microweb.composition import find_representations, limits_of, variables_of
from microweb.limits import Limits
from microweb.openapi.addresses import Address, make_path_parameter, make_server
from microweb.openapi.answers import Answers
from microweb.openapi.descriptions import Description, Requirements, find_description
from microweb.openapi.inputs import Inputs
from microweb.openapi.schemas import Schemas
from microweb.parameters import Parameter

__all__ = ["Operation"]

MISSES = frozenset((400, 404, 405))
"""The statuses of a path that no rule takes."""


class Operation:
    """One method at one address; ``write`` gives its Operation Object.

    Raises:
        SetupError: a parameter of the view, or of something that it depends on, cannot be filled.
    """

    def __init__(self, address: Address, method: str) -> None:
        route = address.target.route
        assert route is not None
        self.address = address
        self.method = method
        self.route = route
        self.plan = make_plan(
            route.view,
            what="view",
            variables=variables_of(address.target),
            forbids_unknown=bool(route.options.get("forbid_unknown")),
        )
        self.around = [*reversed(address.outside), address.target]
        """The mounts that the route stands in, the outermost first, and its own target."""
        self.plans = [*(plan for target in self.around for plan in self.make_plans_before(target)), self.plan]
        self.description = self.gather_description()
        negotiation = find_representations(address.target.placement)
        self.sent_types: list[str] = ["application/json"] if negotiation is None else list(negotiation.known)
        self.read_types: list[str] = ["application/json"] if negotiation is None else negotiation.readable
        self.refuses_types = negotiation is not None and negotiation.strict
        """Whether a client that accepts no format of the data is told so: a 406."""
        self.has_only_data = False
        """Whether texts and numbers are data too, as from a class that writes all that its methods return."""
        list_types = getattr(getattr(self.route.source, "view_class", None), "list_media_types", None)
        if list_types is not None:
            self.sent_types, fallback = list_types(address.app, self.route.options)
            self.refuses_types = fallback is None
            self.has_only_data = True
        self.meets_others = False
        """Whether a path that is not for it may be for a rule with another method."""

    @property
    def is_hidden(self) -> bool:
        """Whether it is left out of the document."""
        return self.route.options.get("openapi") is False or bool(self.description.hidden)

    @property
    def operation_id(self) -> str:
        """Its name for generated clients, if no other operation has it."""
        return self.description.operation_id or self.address.endpoint.replace(".", "_")

    def make_plans_before(self, target: Target) -> list[Plan]:
        """The plans of what runs before a view or a mounted app: hooks, and the dependencies of routers and route."""
        placement, route = target.placement, target.route
        hooks = placement.gather("before_request_hooks")
        plans = [make_plan(hook.function, what="before_request function") for hook in hooks]
        guards = [each for router in placement.chain for each in router.dependencies]
        variables = target.variables
        if route is not None:
            guards += route.options.get("dependencies", ())
            variables = variables_of(target)
        if guards:
            from microweb.boundplan import make_guard

            plans.append(make_guard(guards, what="view", variables=variables, overrides={}))
        return plans

    def gather_description(self) -> Description:
        """What was said of its routers, class, view and route, and of what it depends on."""
        source = getattr(self.route, "source", None)
        given = self.route.options.get("openapi")
        routers = [router for target in self.around for router in target.placement.chain]
        things = [*routers, getattr(source, "view_class", None), self.route.view]
        found = Description()
        for description in [*map(find_description, things), given]:
            if isinstance(description, Description):
                found = description.over(found)
        for function in self.list_dependencies():
            needs = find_description(function)
            if needs is not None:
                found = found.with_needs_of(needs)
        return found

    def list_dependencies(self) -> list[Any]:
        """Everything that is called before the view, each once."""
        nodes = [node for plan in self.plans for node in getattr(plan, "nodes", ())]
        called = [node.key for node in nodes] + [plan.original for plan in self.plans]
        unique = {id(function): function for function in called if function is not self.plan.original}
        return list(unique.values())

    def list_parameters(self) -> list[Parameter]:
        """The parameters of the view and of everything that is called before it."""
        found: list[Parameter] = []
        for plan in self.plans:
            nodes = getattr(plan, "nodes", None)
            found += [each for node in nodes for each in node.parameters] if nodes else plan.parameters
        return found

    # Writing ---------------------------------------------------------------------------------------

    def write(
        self, schemas: Schemas, *, responses: Mapping[int, Any], security: Requirements, operation_id: str
    ) -> dict[str, Any]:
        """The Operation Object; ``responses`` and ``security`` are those of every operation."""
        described = self.description
        needed = security if described.security is None else described.security
        inputs = Inputs(schemas, described.examples, closed=bool(self.route.options.get("forbid_unknown")))
        for parameter in self.list_parameters():
            inputs.add(parameter)
        summary, text = split_docstring(self.plan.original)
        facts = {
            "tags": list(described.tags) if described.tags is not None else list(filter(None, [self.address.tag])),
            "summary": described.summary or summary,
            "description": described.description or text,
            "operationId": operation_id,
            "parameters": self.write_parameters(inputs),
            "requestBody": inputs.make_body(self.read_types),
            "responses": self.write_answers(schemas, {**responses, **self.find_errors(inputs, needed)}),
            "deprecated": described.deprecated,
        }
        written = {name: value for name, value in facts.items() if value}
        if described.security is not None:
            written["security"] = described.security
        if self.address.host is not None:
            written["servers"] = [make_server(self.address.host)]
        return written

    def write_parameters(self, inputs: Inputs) -> list[dict[str, Any]]:
        """The Parameter Objects, those of the path first."""
        found = []
        for name, variable in self.address.variables.items():
            parameter = make_path_parameter(name, variable)
            example = self.description.examples.get(variable.name)
            found.append(parameter if example is None else parameter | {"example": example})
        return found + list(inputs.parameters.values())

    def write_answers(self, schemas: Schemas, errors: Mapping[int, Any]) -> dict[str, Any]:
        """The Responses Object, by status."""
        described = self.description
        answers = Answers(schemas, self.address.owners, self.sent_types, has_only_data=self.has_only_data)
        answers.add_returned(self.plan.returns, described.responses)
        answers.add_errors({**errors, **described.responses}, misses=MISSES)
        return dict(sorted(answers.found.items()))

    def find_errors(self, inputs: Inputs, security: Requirements) -> dict[int, str]:
        """The errors that microweb itself answers here, and what they mean."""
        limits = limits_of(self.address.target, Limits.of(self.address.app.config))
        found: dict[int, str] = {}
        if self.address.variables or self.address.host is not None:
            found[404] = "There is nothing at this address."
            found[400] = "The escapes in the path are not UTF-8."
        if self.address.variables and self.meets_others:
            found[405] = "This address does not answer to that method."
        if inputs.takes_body:
            found[400] = "The body is malformed or incomplete."
            if limits.max_content_length is not None or inputs.takes_form:
                found[413] = "The body is larger than the server accepts."
            found[415] = "The server does not read bodies of this media type here."
        if inputs.can_be_refused:
            found[422] = "Values are missing or wrong; `errors` lists all of them."
        if any(place == "query" for place, _ in inputs.parameters):
            found[414] = "The URL is longer than the server accepts."
        if self.refuses_types:
            found[406] = "There is no format here that the client accepts."
        if security and {} not in security:
            found[401] = "Credentials are missing or wrong."
        if self.route.timeout is not None:
            found[504] = f"No answer within {self.route.timeout:g} seconds."
        return found


def split_docstring(function: Any) -> tuple[str, str]:
    """The first line of a docstring, and the rest."""
    inner = unwrapped(function)
    first, _, rest = inspect.cleandoc(getattr(inner, "__doc__", None) or "").partition("\n")
    return first.strip(), rest.strip()
