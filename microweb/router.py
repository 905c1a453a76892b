"""Routers: what a program registers, and where it stands in the source.

A ``Router`` is Flask's blueprint and the base of ``App``: it collects routes, mounts, hooks, middleware,
error handlers and template additions, and does nothing with them. ``assembly.py`` reads these lists when
the app starts and composes the handlers. After that the router is frozen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Never, TypeVar

from microweb.absences import OF_A_ROUTER, OF_MAKING_A_ROUTER, OF_MOUNTING, without, without_options
from microweb.asgi import ASGIApp
from microweb.converters import BUILTIN_CONVERTERS, Converter
from microweb.errors import FrozenError, HTTPException, SetupError, StatusError
from microweb.markers import Depends
from microweb.registrations import (
    Converters,
    Mount,
    Registration,
    Route,
    RouteOptions,
    WebSocketOptions,
    add_marked_methods,
    check_dependencies,
    check_host,
    check_methods,
    check_options,
    check_prefix,
    check_rule,
    find_place,
)

if TYPE_CHECKING:
    from typing import Unpack

    from microweb.cli.commandgroup import CommandGroup
    from microweb.files import FileResponse
    from microweb.representations import Representations

__all__ = ["Router"]

Function = TypeVar("Function", bound=Callable[..., Any])
View = Callable[..., Any]


NOT_OF_WEBSOCKETS = {
    **dict.fromkeys(RouteOptions.__annotations__.keys() - WebSocketOptions.__annotations__.keys(), "they have no body"),
    "methods": "a handshake is a GET",
    "openapi": "only requests are described",
    "cancel_on_disconnect": "a view learns that its client has left when it receives or sends",
    "max_content_length": "websocket_max_message= is the limit of each message, WEBSOCKET_MAX_MESSAGE in the config",
}
"""Options of other routes, and what a websocket has instead."""


def find_root_path(import_name: str | None) -> str:
    """The folder of the module called ``import_name``; the working directory if it has no file."""
    module = sys.modules.get(import_name or "")
    file = getattr(module, "__file__", None)
    # Not pathlib: it would be a tenth of what importing microweb costs.
    return os.path.dirname(os.path.realpath(file)) if file else os.getcwd()  # noqa: PTH109, PTH120


@without(OF_A_ROUTER)
class Router:
    """A set of routes with their own hooks, middleware, error handlers, templates and static files.

    >>> from microweb import App, Router
    >>> blog = Router("blog", __name__, prefix="/blog")
    >>> @blog.get("/<int:post>")
    ... async def post(post: int):
    ...     return f"post {post}"
    >>> app = App(__name__)
    >>> app.mount("", blog)
    >>> app.url_for("blog.post", post=7)
    '/blog/7'

    What registers something here raises a ``FrozenError`` once an app that it belongs to has started to serve, and a
    ``SetupError`` for what is no function; both name the place.

    Raises:
        SetupError: the name holds a dot or is empty, or the prefix does not start with a slash.
    """

    is_app = False
    """Whether it serves by itself: an ``App`` that is mounted keeps its own table, config and lifespan."""

    is_wrapped = False
    """Whether plain ASGI middleware stands around it."""

    @without_options(OF_MAKING_A_ROUTER)
    def __init__(
        self,
        name: str,
        import_name: str | None = None,
        *,
        prefix: str = "",
        host: str | None = None,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        dependencies: Iterable[Depends] = (),
    ) -> None:
        if not self.is_app and (not name or "." in name):
            raise SetupError(f"a router's name is one word without dots, not {name!r} ({find_place()})")
        self.version = 0
        """Counts registrations, so that what was derived from them can be derived anew."""
        self.frozen = False
        self.name = name
        self.import_name = import_name
        self.root_path = find_root_path(import_name)
        """The folder of its module: where its relative paths start."""
        self.prefix = check_prefix(prefix)
        self.host = check_host(host)
        self.static_folder = static_folder
        self.static_url_path = static_url_path
        self.template_folder = template_folder
        self.dependencies = check_dependencies(dependencies)
        """Called before each view and each mounted app here, for what they do."""
        self.place = find_place()
        self.routes: list[Route] = []
        self.mounts: list[Mount] = []
        self.converters: dict[str, type[Converter]] = Converters(self._changed, BUILTIN_CONVERTERS)
        self.before_request_hooks: list[Registration] = []
        self.after_request_hooks: list[Registration] = []
        self.teardown_request_hooks: list[Registration] = []
        self.before_websocket_hooks: list[Registration] = []
        self.teardown_websocket_hooks: list[Registration] = []
        self.layers: list[Registration] = []
        self.websocket_layers: list[Registration] = []
        self.status_handlers: dict[int, Registration] = {}
        self.class_handlers: dict[type[BaseException], Registration] = {}
        self.url_defaults_hooks: list[Registration] = []
        self.url_value_preprocessors: list[Registration] = []
        self.context_processors: list[Registration] = []
        self.template_filters: dict[str, Registration] = {}
        self.template_tests: dict[str, Registration] = {}
        self.template_globals: dict[str, Registration] = {}
        self._cli: CommandGroup | None = None
        self._representations: Representations | None = None

    # Routes ------------------------------------------------------------------------------------

    def route(
        self, rule: str, *, methods: Iterable[str] | None = None, **options: Unpack[RouteOptions]
    ) -> Callable[[Function], Function]:
        """Register the decorated view for ``rule``.

        ``methods`` defaults to GET (HEAD and OPTIONS come by themselves); ``timeout`` is in seconds,
        ``max_content_length`` in bytes, None for no limit; what is left out is decided by the app's config.

        Raises:
            SetupError: a method is no token, the endpoint holds a dot, or the view cannot be called.
            FrozenError: the app has started to serve.
        """
        check_rule(rule)

        def register(view: Function) -> Function:
            self.add_route(rule, view, methods=methods, **options)
            return view

        return register

    def get(self, rule: str, **options: Unpack[RouteOptions]) -> Callable[[Function], Function]:
        """``route`` for GET (and HEAD)."""
        return self._route_one("GET", rule, options)

    def post(self, rule: str, **options: Unpack[RouteOptions]) -> Callable[[Function], Function]:
        """``route`` for POST."""
        return self._route_one("POST", rule, options)

    def put(self, rule: str, **options: Unpack[RouteOptions]) -> Callable[[Function], Function]:
        """``route`` for PUT."""
        return self._route_one("PUT", rule, options)

    def patch(self, rule: str, **options: Unpack[RouteOptions]) -> Callable[[Function], Function]:
        """``route`` for PATCH."""
        return self._route_one("PATCH", rule, options)

    def delete(self, rule: str, **options: Unpack[RouteOptions]) -> Callable[[Function], Function]:
        """``route`` for DELETE."""
        return self._route_one("DELETE", rule, options)

    def _route_one(self, method: str, rule: str, options: RouteOptions) -> Callable[[Function], Function]:
        if "methods" in options:
            raise SetupError(
                f"{method.lower()}() is for {method} alone; for more say route({rule!r}, methods=[...]) "
                f"({find_place()})"
            )
        return self.route(rule, methods=(method,), **options)

    def websocket(self, rule: str, **options: Unpack[WebSocketOptions]) -> Callable[[Function], Function]:
        """Register the decorated view for websockets on ``rule``; the options are those of ``route``.

        ``timeout`` is the seconds that the client may be silent while the view receives.

        Raises:
            SetupError: as ``route``, and for ``methods`` and the options of requests alone, such as those of bodies.
            FrozenError: the app has started to serve.
        """
        check_rule(rule)
        for option in options.keys() & NOT_OF_WEBSOCKETS.keys():
            raise SetupError(f"websocket routes have no {option}=: {NOT_OF_WEBSOCKETS[option]} ({find_place()})")

        def register(view: Function) -> Function:
            self._add(rule, view, methods=None, **options)
            return view

        return register

    def add_route(self, rule: str, view: View, *, methods: Iterable[str] | None = None, **options: Any) -> None:
        """``route`` without the decorator; the options are the same, and those that an extension reads.

        What ``MethodView.as_view`` gives becomes one route for each verb, all under one endpoint.

        Raises: as ``route``.
        """
        named: Iterable[str] = methods if methods is not None else getattr(view, "methods", None) or ("GET",)
        checked = add_marked_methods(view, check_methods(named))
        if not hasattr(type(view), "verbs"):
            self._add(rule, view, methods=checked, **options)
            return
        several: Any = view
        # SECURITY: test_layers_from_an_iterator_stand_around_every_verb: the first route would take all that is in it.
        options = {name: [*value] if isinstance(value, Iterator) else value for name, value in options.items()}
        options["endpoint"] = options.get("endpoint") or several.__name__
        for verb, function in several.verbs.items():
            if verb in checked:
                self._add(rule, function, methods=frozenset((verb,)), source=view, **options)

    def _add(
        self,
        rule: str,
        view: View,
        *,
        methods: frozenset[str] | None,
        source: View | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> None:
        place = find_place()
        self._changed(f"add the route {rule!r}")
        if not callable(view):
            raise SetupError(
                f"the view of {rule!r} must be a function, not {type(view).__name__} ({place}); "
                "`@app.get(...)` goes directly above the function"
            )
        if isinstance(view, type) and hasattr(view, "as_view"):
            raise SetupError(
                f"the view of {rule!r} is the class {view.__name__}; register what as_view gives, as in "
                f'add_route({rule!r}, {view.__name__}.as_view("{view.__name__.lower()}")) ({place})'
            )
        name: object = endpoint or getattr(view, "__name__", "") or type(view).__name__
        if not isinstance(name, str):
            raise SetupError(f"endpoint= is a name such as 'blog_post', not {name!r} ({place})")
        if "." in name:
            raise SetupError(f"the endpoint {name!r} must not hold a dot: dots join the names of routers ({place})")
        own, others = check_options(options)
        self.routes.append(
            Route(rule, view, name=name, methods=methods, place=place, source=source, options=others, **own)
        )

    @without_options(OF_MOUNTING)
    def mount(
        self,
        prefix: str,
        target: Router | ASGIApp,
        *,
        name: str | None = None,
        errors: Literal["own", "bubble"] = "own",
    ) -> None:
        """Put a router, another app, any ASGI app or ``WSGI(app)`` under ``prefix``.

        Prefixes add up: ``mount("/a", Router(prefix="/b"))`` serves ``/a/b``. ``name`` replaces the router's
        own name in endpoints, so that one router can be mounted twice. ``errors="bubble"`` lets the
        handlers here answer the unhandled errors of a mounted microweb app.

        Raises:
            SetupError: the prefix is malformed, or the target is no app.
            FrozenError: the app has started to serve.
        """
        place = find_place()
        self._changed(f"mount {prefix!r}")
        if not callable(target) and not isinstance(target, Router):
            raise SetupError(
                f"mount({prefix!r}, ...) takes a Router or an ASGI app, not {type(target).__name__} ({place})"
            )
        if errors not in ("own", "bubble"):
            raise SetupError(f'mount(errors=...) is "own" or "bubble", not {errors!r} ({place})')
        if target is self:
            raise SetupError(f"{self!r} cannot be mounted in itself ({place})")
        self.mounts.append(Mount(check_prefix(prefix), target, name, errors, place))

    @property
    def static_folder(self) -> str | None:
        """The folder of static files as a whole path, as in Flask; one that was given relative is in ``root_path``."""
        if self._static_folder is None:
            return None
        return os.path.join(self.root_path, self._static_folder)  # noqa: PTH118 - pathlib is slow to import, as above

    @static_folder.setter
    def static_folder(self, folder: str | os.PathLike[str] | None) -> None:
        self._changed("set the static folder")
        self._static_folder = None if folder is None else os.fspath(folder)

    def send_static_file(self, filename: str) -> FileResponse:
        """Answer with a file of the static folder, for another URL than its own, such as ``/favicon.ico``.

        Raises:
            RuntimeError: there is no static folder.
            NotFound: it has no such file.
        """
        from microweb.sendfile import send_from_directory

        if self.static_folder is None:
            raise RuntimeError(f"{self!r} has no static folder, so it has no {filename!r} to send")
        return send_from_directory(self.static_folder, filename)

    # Hooks -------------------------------------------------------------------------------------

    def before_request(self, function: Function) -> Function:
        """Run before each view, mounted app and miss here; what it returns, if not None, is the answer."""
        return self._record(self.before_request_hooks, function, "before_request")

    def after_request(self, function: Function) -> Function:
        """Pass each answer through ``function(response)``, the last registered first; None keeps it."""
        return self._record(self.after_request_hooks, function, "after_request")

    def teardown_request(self, function: Function) -> Function:
        """Run ``function(error)`` after the last byte, whatever happened.

        ``error`` is the unhandled one, or what ended the work half way (a cancellation, or the ``ClientDisconnect`` of
        a client that left while its body was read), or None.
        """
        return self._record(self.teardown_request_hooks, function, "teardown_request")

    def before_websocket(self, function: Function) -> Function:
        """``before_request`` for websockets."""
        return self._record(self.before_websocket_hooks, function, "before_websocket")

    def teardown_websocket(self, function: Function) -> Function:
        """``teardown_request`` for websockets."""
        return self._record(self.teardown_websocket_hooks, function, "teardown_websocket")

    def middleware(self, function: Function) -> Function:
        """Wrap every answer here in ``async def function(request, call_next)``; the first registered is outermost."""
        return self._record(self.layers, function, "middleware")

    def add_middleware(self, layer: Callable[..., Any], **options: Never) -> None:
        """``middleware`` without the decorator, for the built-in ones: ``app.add_middleware(CORS(...))``.

        Raises:
            SetupError: ``layer`` cannot be called, or stands around the whole app, and this is a router; or there are
                options, as for a class of ASGI middleware.
            FrozenError: the app has started to serve.
        """
        if options:
            raise SetupError(
                f"add_middleware takes one object, such as CORS(...), and no {next(iter(options))}=; a class of ASGI "
                f"middleware goes with its options into app.add_asgi_middleware(...) ({find_place()})"
            )
        if getattr(layer, "stands_around_app", False):
            raise SetupError(
                f"{type(layer).__name__} acts before a route is looked for, so it stands around the whole app: "
                f"app.add_middleware(...), not on {self!r} ({find_place()})"
            )
        self._record(self.layers, layer, "add_middleware")

    def websocket_middleware(self, function: Function) -> Function:
        """Wrap every websocket here in ``async def function(websocket, call_next)``."""
        return self._record(self.websocket_layers, function, "websocket_middleware")

    def errorhandler(self, kind: int | type[BaseException]) -> Callable[[Function], Function]:
        """Answer errors of a status or a class with ``function(error)``; the nearest one wins.

        Raises:
            SetupError: ``kind`` is neither a status from 400 to 599 nor a class of ``Exception``.
            FrozenError: the app has started to serve.
        """
        place = find_place()
        wanted: object = kind
        if isinstance(kind, int) and not 400 <= kind <= 599:
            raise SetupError(f"errorhandler takes a status from 400 to 599, not {kind} ({place})")
        if not isinstance(wanted, int) and not (isinstance(wanted, type) and issubclass(wanted, Exception)):
            raise SetupError(
                f"errorhandler takes a status or a class of Exception, as in errorhandler(404), not {kind!r} ({place})"
            )

        def register(function: Function) -> Function:
            self._changed("add an error handler")
            registration = Registration(function, place)
            if isinstance(kind, int):
                self.status_handlers[kind] = registration
            elif issubclass(kind, StatusError) and HTTPException.by_status.get(kind.status) is kind:
                # NotFound and 404 are the same thing, also for `raise HTTPException(404)`.
                self.status_handlers[kind.status] = registration
            else:
                self.class_handlers[kind] = registration
            return function

        return register

    def url_defaults(self, function: Function) -> Function:
        """Let ``function(endpoint, values)`` fill values in before a URL of this router is built."""
        return self._record(self.url_defaults_hooks, function, "url_defaults")

    def url_value_preprocessor(self, function: Function) -> Function:
        """Let ``function(endpoint, values)`` change the path variables before hooks and views see them."""
        return self._record(self.url_value_preprocessors, function, "url_value_preprocessor")

    # Templates ---------------------------------------------------------------------------------

    def context_processor(self, function: Function) -> Function:
        """Add what ``function()`` returns, a dict, to the variables of every template rendered here."""
        return self._record(self.context_processors, function, "context_processor")

    def template_filter(self, name: str | None = None) -> Callable[[Function], Function]:
        """Register a template filter under ``name``, or under the function's own."""
        return self._name(self.template_filters, name, "template_filter")

    def template_test(self, name: str | None = None) -> Callable[[Function], Function]:
        """Register a template test under ``name``, or under the function's own."""
        return self._name(self.template_tests, name, "template_test")

    def template_global(self, name: str | None = None) -> Callable[[Function], Function]:
        """Register a template global under ``name``, or under the function's own."""
        return self._name(self.template_globals, name, "template_global")

    # Representations -----------------------------------------------------------------------------

    @property
    def representations(self) -> Representations:
        """The media types that views here answer in, beside JSON, as the client prefers.

        ``app.representations["application/msgpack"] = MessagePack()``; or a function that writes a value.
        """
        if self._representations is None:
            from microweb.representations import Representations

            self._representations = Representations(
                self._changed, lambda problem: SetupError(f"{problem} ({find_place()})")
            )
        return self._representations

    # Commands ----------------------------------------------------------------------------------

    @property
    def cli(self) -> CommandGroup:
        """The commands of ``microweb`` that this router adds, a click group, made at first use.

        ``@app.cli.command()`` makes ``microweb NAME``; ``@router.cli.command()``, of a router that is
        mounted, ``microweb ROUTER NAME``. Commands may be coroutine functions.
        """
        if self._cli is None:
            from microweb.cli.commandgroup import CommandGroup

            self._cli = CommandGroup(self)
        return self._cli

    # Inside ------------------------------------------------------------------------------------

    def _record(self, registrations: list[Registration], function: Function, what: str) -> Function:
        place = find_place()
        self._changed(f"add a function with {what}")
        if not callable(function):
            raise SetupError(f"{what} takes a function, not {type(function).__name__} ({place})")
        registrations.append(Registration(function, place))
        return function

    def _name(
        self, registrations: dict[str, Registration], name: str | None, what: str
    ) -> Callable[[Function], Function]:
        if callable(name):
            raise SetupError(f"{what} is used with parentheses: @app.{what}() ({find_place()})")

        def register(function: Function) -> Function:
            self._changed(f"add a function with {what}")
            registrations[name or function.__name__] = Registration(function, find_place())
            return function

        return register

    def _changed(self, what: str) -> None:
        if self.frozen:
            raise FrozenError(
                f"cannot {what} on {self!r}: the app has started to serve, and everything was composed then "
                f"({find_place()}); register it before the first request"
            )
        self.version += 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
