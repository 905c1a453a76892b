"""``Api``: where resources are registered, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from inspect import isclass, iscoroutinefunction
from typing import Any, NamedTuple, NoReturn, TypeVar

from microweb import App, HTTPException, Response, Router, SetupError, request, url_for
from microweb.errors import BuildError
from microweb.ext.rest.outputs import JSON, Headers, Output, Outputs, output_json, outputs_of, represent
from microweb.ext.rest.problems import answer_problems
from microweb.ext.rest.resource import Resource

__all__ = ["Api"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Kind = TypeVar("Kind", bound=type[Resource])
Writer = TypeVar("Writer", bound=Output)


class Registration(NamedTuple):
    """A resource as it was added."""

    resource: type[Resource]
    paths: tuple[str, ...]
    endpoint: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    options: Mapping[str, Any]


class Api:
    """A set of resources on an app or a router, with one prefix, set of representations and form of errors.

    ``media_type`` is a name of your own for this API's JSON, ``application/vnd.shop.v2+json`` for instance.
    ``default_mediatype`` is sent to a client that accepts none of the representations; None is a 406.
    ``decorators`` stand around each view and see its answers. ``errors`` maps the name of an exception class to
    the members of its problem, ``status`` among them. ``catch_all_404s`` answers every miss of the app as a problem,
    not only those at the paths of resources.

    >>> from microweb import App
    >>> from microweb.ext.rest import Api, Resource
    >>> class Hello(Resource):
    ...     def get(self):
    ...         return {"hello": "world"}
    >>> app = App(__name__)
    >>> api = Api(app, prefix="/v1")
    >>> api.add_resource(Hello, "/", "/hello")
    >>> app.url_for("hello")
    '/v1/'

    Raises:
        SetupError: the prefix does not start with a slash, or what is given is neither app nor router.
    """

    def __init__(
        self,
        app: Router | None = None,
        prefix: str = "",
        *,
        default_mediatype: str | None = JSON,
        media_type: str | None = None,
        decorators: Iterable[Decorator] = (),
        catch_all_404s: bool = False,
        errors: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if prefix and not prefix.startswith("/"):
            raise SetupError(f"the prefix of an Api starts with a slash, not {prefix!r}")
        self.prefix = prefix.rstrip("/")
        self.default_mediatype = default_mediatype
        self.media_type = media_type
        self.decorators = [*decorators]
        self.catch_all_404s = catch_all_404s
        self.errors = errors or {}
        self.representations: dict[str, Output] = {}
        """Its own outputs by media type; those of the app, and JSON, come beside them."""
        if media_type is not None:
            self.representations[media_type] = output_json
        self._outputs: dict[Router, Outputs] = {}
        self._registrations: list[Registration] = []
        self._targets: list[Router] = []
        self._guarded: set[tuple[int, str]] = set()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Router) -> None:
        """Register everything on ``app``, an app or a router: what was added, and what will be.

        Raises:
            SetupError: it is neither.
            FrozenError: the app has started to serve.
        """
        given: object = app
        if not isinstance(given, Router):
            raise SetupError(f"an Api is put on an App or a Router, not on {type(given).__name__}")
        if isinstance(app, App):
            app.extensions.setdefault("rest", []).append(self)
        if self.catch_all_404s or not isinstance(app, App):
            app.add_middleware(answer_problems)
        self._targets.append(app)
        for registration in self._registrations:
            self._register(app, registration)

    def add_resource(
        self,
        resource: type[Resource],
        *paths: str,
        endpoint: str | None = None,
        resource_class_args: Iterable[Any] = (),
        resource_class_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Serve ``resource`` at each of ``paths``; the endpoint is its name in lower case.

        The class is made anew for each request, with ``resource_class_args`` and ``resource_class_kwargs``.
        ``options`` are those of ``route``.

        Raises:
            SetupError: it is no resource, has no methods for verbs, or there is no path.
            FrozenError: the app has started to serve.
        """
        given: object = resource
        if not (isclass(given) and issubclass(given, Resource)):
            raise SetupError(f"add_resource takes a class derived from Resource, not {given!r}")
        if not paths or not all(path.startswith("/") for path in paths):
            raise SetupError(f"{resource.__name__} needs paths that start with a slash, not {paths!r}")
        if not resource.methods:
            raise SetupError(f"{resource.__name__} has no method for any verb; give it get, post, ...")
        # SECURITY: test_layers_from_an_iterator_stand_around_every_path: the first route would take all that is in it.
        options = {name: [*value] if isinstance(value, Iterator) else value for name, value in options.items()}
        registration = Registration(
            resource,
            paths,
            endpoint or resource.__name__.lower(),
            (*resource_class_args,),
            dict(resource_class_kwargs or {}),
            options,
        )
        self._registrations.append(registration)
        for target in self._targets:
            self._register(target, registration)

    def resource(self, *paths: str, **options: Any) -> Callable[[Kind], Kind]:
        """``add_resource`` as a decorator of the class."""

        def register(resource: Kind) -> Kind:
            self.add_resource(resource, *paths, **options)
            return resource

        return register

    def representation(self, media_type: str) -> Callable[[Writer], Writer]:
        """Write answers in ``media_type`` with ``function(data, status, headers)``, which gives a ``Response``.

        Raises:
            SetupError: it is a coroutine function.
        """

        def register(function: Writer) -> Writer:
            if iscoroutinefunction(function):
                raise SetupError(
                    f"the representation {media_type!r} is a plain def: it only turns data into a Response"
                )
            self.representations[media_type] = function
            self._outputs.clear()
            return function

        return register

    def make_response(self, data: Any, status: int = 200, headers: Headers = None) -> Response:
        """``data`` as the current client wants it.

        Raises:
            NotAcceptable: it wants none of the representations and there is no default.
        """
        return represent(data, status, headers, self.find_outputs(request.app), self.default_mediatype)

    def find_outputs(self, app: App) -> Outputs:
        """What answers can be written in, by media type: what ``app`` and its router know, and its own."""
        if app not in self._outputs:
            self._outputs[app] = self.gather_outputs(app)
        return self._outputs[app]

    def gather_outputs(self, app: App) -> Outputs:
        """``find_outputs`` as it is now: more may be registered until the app serves."""
        routers = [app, *(target for target in self._targets if not isinstance(target, App))]
        return {**outputs_of(routers), **self.representations}

    def url_for(self, resource: type[Resource], **values: Any) -> str:
        """The URL of a resource of this API.

        Raises:
            BuildError: it was not added, or its path needs other values.
        """
        endpoints = [found.endpoint for found in self._registrations if found.resource is resource]
        if not endpoints:
            raise BuildError(f"{resource.__name__} is no resource of this Api.")
        try:
            return url_for(f".{endpoints[0]}", **values)
        except BuildError:
            if not self._targets or isinstance(self._targets[0], App):
                raise
            return url_for(f"{self._targets[0].name}.{endpoints[0]}", **values)

    # Inside ------------------------------------------------------------------------------------

    def _register(self, target: Router, registration: Registration) -> None:
        resource, endpoint = self._prepare(registration.resource), registration.endpoint
        view = resource.as_view(endpoint, *registration.arguments, **registration.keywords)
        options = dict(registration.options)
        if isinstance(target, App) and not self.catch_all_404s:
            options["middleware"] = [answer_problems, *options.get("middleware", ())]
        for path in registration.paths:
            rule = self.prefix + path
            target.add_route(rule, view, endpoint=endpoint, api=self, **options)
            if isinstance(target, App) and not self.catch_all_404s:
                before, variable, _ = rule.partition("<")
                self._guard_misses(target, self.prefix or (before.rpartition("/")[0] if variable else rule))

    def _guard_misses(self, app: App, prefix: str) -> None:
        """Answer what is amiss at and below ``prefix`` as a problem: a router without routes owns it."""
        prefix = prefix.rstrip("/")
        if "<" in prefix or not prefix or (id(app), prefix) in self._guarded:
            return
        self._guarded.add((id(app), prefix))
        guard = Router(f"rest-misses-{len(app.mounts)}", __name__)
        guard.add_middleware(answer_problems)
        app.mount(prefix, guard)

    def _prepare(self, resource: type[Resource]) -> type[Resource]:
        """The class with the decorators of this API around its own."""
        decorators = [*self.decorators]
        if self.errors:
            decorators.insert(0, self._translate)
        if not decorators:
            return resource
        names = {"decorators": [*resource.decorators, *decorators], "__module__": resource.__module__}
        return type(resource.__name__, (resource,), {**names, "__doc__": resource.__doc__, "methods": resource.methods})

    def _translate(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Let exceptions that ``errors`` names become problems."""

        @wraps(view)
        async def translate_async(*args: Any, **values: Any) -> Any:
            try:
                return await view(*args, **values)
            except Exception as error:
                self._raise_known(error)
                raise

        @wraps(view)
        def translate(*args: Any, **values: Any) -> Any:
            try:
                return view(*args, **values)
            except Exception as error:
                self._raise_known(error)
                raise

        return translate_async if iscoroutinefunction(view) else translate

    def _raise_known(self, error: Exception) -> None:
        for kind in type(error).__mro__:
            known = self.errors.get(kind.__name__)
            if known is not None:
                raise_problem(known, error)


def raise_problem(members: Mapping[str, Any], cause: Exception) -> NoReturn:
    """Raise what ``Api(errors=...)`` says of an exception.

    Raises:
        HTTPException: always.
    """
    members = dict(members)
    status, message = members.pop("status", 500), members.get("message")
    raise HTTPException(
        status, message if isinstance(message, str) else None, extensions={"message": message, **members}
    ) from cause
