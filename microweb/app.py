"""The app. Start reading here: ``App.__call__`` is the walk of one request, on one screen.

An ``App`` is the outermost ``Router``. ``assembly.py`` turns what was registered into a table, ``composition.py``
gives each target its handler, and the walk only looks up, awaits and sends; ``conclusion.py`` ends what did not go
so plainly. Everything else in this file is how an app starts and stops, and what a program asks of it.
"""

from __future__ import annotations

import logging
import os
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal, Never, TypeVar

from microweb.absences import OF_A_TEST_REQUEST, OF_AN_APP, OF_MAKING_AN_APP, without, without_options
from microweb.asgi import ASGIApp, Message, Receive, Scope, Send
from microweb.assembly import Assembly, Target, count_registrations, located
from microweb.callables import can_take, describe
from microweb.composition import Composition
from microweb.conclusion import close, end_early, finish
from microweb.config import Config
from microweb.context import AppContext, State, current
from microweb.conversion import NO_ENCODER, find_encoder, to_response
from microweb.errors import SetupError
from microweb.failures import name_of
from microweb.finder import Finder, make_finder
from microweb.framing import length_line, new_start
from microweb.gate import PASSED, make_gate
from microweb.incoming import Incoming
from microweb.lifespan import Lifespan
from microweb.lifespanstate import LifespanState
from microweb.limits import DEFAULTS, Limits
from microweb.observers import Observers
from microweb.onion import Handler
from microweb.redaction import printable
from microweb.registrations import find_place
from microweb.requests import Request
from microweb.responses import Response
from microweb.router import Router
from microweb.shutdownevent import ShutdownEvent

if TYPE_CHECKING:
    from datetime import timedelta

    from jinja2 import Environment

    from microweb.channels import Channels
    from microweb.cli.commandrunner import CommandRunner
    from microweb.debugger import Debugger
    from microweb.explanation import Explanation
    from microweb.overrides import Override
    from microweb.requestcontext import RequestContext
    from microweb.routelist import ListedRoute
    from microweb.sessions import Sessions, SessionStore
    from microweb.templating import Templates
    from microweb.testing import Client
    from microweb.websocketcomposition import WebSocketFinder
    from microweb.workers import WorkerPool

__all__ = ["App"]

Function = TypeVar("Function", bound=Callable[..., Any])
LifespanFunction = TypeVar("LifespanFunction", bound=Callable[[Any], AsyncIterator[Any]])
EventName = Literal["request_started", "request_finished", "exception", "template_rendered", "context_torn_down"]

logger = logging.getLogger("microweb")
# PERF(walk.plaintext): CPython 3.11 makes a new bound method for each call through an imported name.
set_current, reset_current = current.set, current.reset
new = object.__new__


@without(OF_AN_APP)
class App(Router):
    """An application: the outermost router, with config, a lifespan and the ASGI door.

    ``import_name`` is usually ``__name__``; files are looked for beside that module. ``config`` is a mapping or
    an object as for ``config.from_object``.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> @app.get("/")
    ... async def hello():
    ...     return "Hello, world!"
    """

    is_app = True
    request_class: type[Request] = Request

    @without_options(OF_MAKING_AN_APP)
    def __init__(
        self,
        import_name: str | None = None,
        *,
        config: Mapping[str, Any] | object | None = None,
        secret_key: str | bytes | None = None,
        debug: bool | None = None,
        strict_slashes: bool = True,
        request_class: type[Request] | None = None,
        static_folder: str | os.PathLike[str] | None = "static",
        static_url_path: str | None = "/static",
        template_folder: str | os.PathLike[str] | None = "templates",
    ) -> None:
        super().__init__(
            "",
            import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
        )
        # A class derived from App may set it, as Flask's do.
        self.request_class = request_class or type(self).request_class
        self.strict_slashes = strict_slashes
        self._gate: ASGIApp | None = self._start_and_pass
        """Stands before the walk while there is something to do first; None if there is nothing once it has started."""
        self._open_gate: ASGIApp | None = None
        """What ``_gate`` is once the app has started."""
        self._composed = False
        self._has_overridden = False
        """Whether a dependency was replaced since the start, as tests do: handlers are then made as they are found."""
        self._sessions: Sessions | None = None
        self._templates: Templates | None = None
        self._templates_version = -1
        self._session_store: SessionStore | None = None
        self._channels: Channels | None = None
        self.config = Config(self.root_path, DEFAULTS, on_change=self._config_changed)
        self.limits = Limits.of(self.config)
        """The config's figures, checked; renewed when handlers are composed."""
        if isinstance(config, Mapping):
            self.config.from_mapping(config)
        elif config is not None:
            self.config.from_object(config)
        if secret_key is not None:
            self.config["SECRET_KEY"] = secret_key
        if debug is not None:
            self.config["DEBUG"] = debug
        self.extensions: dict[str, Any] = {}
        self.state = State()
        self.observers = Observers(self)
        self._workers: WorkerPool | None = None
        self._lifespans: list[Callable[[Any], AsyncIterator[Any]]] = []
        self._asgi_middleware: list[tuple[Callable[..., ASGIApp], dict[str, Any]]] = []
        self._runtime = Lifespan(
            self._enter,
            # Asked for before anything is composed, so ``limits`` may be older than the config.
            grace=lambda: Limits.of(self.config).graceful_timeout,
            background_timeout=lambda: Limits.of(self.config).background_timeout,
            stopped=self._close_gate,
        )
        self._lifespan_state = LifespanState(self._runtime)
        self._host: App | None = None
        """The app that this one is mounted in, while it is started with that."""
        self._loop: AbstractEventLoop | None = None
        """The loop that is served without the runtime, until a background task needs it."""
        self._assembly: Assembly | None = None
        self._assembly_version: tuple[int, bool] | None = None
        self._overrides: dict[Any, list[Override]] = {}
        self._find_websocket: WebSocketFinder | None = None
        self._debugger: Debugger | None = None

    # The walk ------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection: an HTTP request, a websocket, or the server's lifespan."""
        if self._gate is not None and scope.pop(PASSED, None) is not self:
            return await self._gate(scope, receive, send)
        if scope["type"] != "http":
            return await self._serve_other(scope, receive, send)

        # PERF(walk.plaintext): CPython 3.11 calls a function faster from a variable than from an attribute.
        find, kind = self._find, self._bare_request_class
        target, values = find(scope)
        if kind is None:
            request = self.request_class(self, scope, receive, target, values)
        else:
            # PERF(walk.json): `Incoming.__init__`, written out: calling the class takes 0.1 us more, a function 0.06.
            request = new(kind)
            request.app = self
            request.scope = scope
            request._receive = receive
            request._target = target
            request._view_args = values
            request._notes = None
            request._started = request.closed = False
        token = set_current(request)
        is_current = True
        start: Message | None = None
        body = b""
        response: Response | None = None
        try:
            view = target.view
            if view is None:
                stream = target.stream
                if stream is None or request._notes is not None or scope["method"] == "HEAD":
                    response = await target.handler(request)
                else:
                    await stream(request, send)
            else:
                # PERF(walk.plaintext): no layer, no hook, nothing to bind: the view is awaited from here,
                # and what it returns goes out without a Response, if nothing could have touched one.
                try:
                    if target.takes_request:
                        value = await view(request)
                    elif values is None:
                        value = await view()
                    elif target.takes_one_value:
                        (only,) = values.values()  # PERF(walk.parameter): ** takes 0.07 us more.
                        value = await view(only)
                    else:
                        value = await view(**values)
                    encode, line = find_encoder(value.__class__, NO_ENCODER)
                    if encode is not None and request._notes is None and scope["method"] != "HEAD":
                        body = encode(value)
                        start = new_start()
                        start["headers"] = [line, length_line(len(body))]
                    else:
                        response = to_response(value, request, target.source)
                except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
                    response = await target.answer(request, error)
            if response is not None:
                notes = request._notes
                if notes is not None and (notes.finishers or notes.save is not None):
                    response = await finish(request, response)
                if response.__class__ is not Response:
                    if not response.is_streamed:
                        reset_current(token)
                        is_current = False
                    await response.send(request, send)
                elif (
                    response._headers is None
                    and response._status == 200
                    and response._content_type is not None
                    and scope["method"] != "HEAD"
                ):
                    # PERF(walk.middleware): `Response.messages`, written out.
                    body = response._body
                    start = new_start()
                    start["headers"] = [(b"content-type", response._content_type), length_line(len(body))]
                else:
                    start, body = response.messages(request)
            if start is not None:
                request._started = True
                # A server sets a timer for the idle connection while the answer leaves. The timer keeps the
                # context, and would keep the request with it.
                reset_current(token)
                is_current = False
                try:
                    await send(start)
                    await send({"type": "http.response.body", "body": body})
                except OSError:
                    pass  # The client left (ASGI HTTP 2.4).
        except BaseException as error:  # noqa: BLE001 - raised again, if it cannot be answered
            await end_early(request, error, send, response)
        finally:
            if request._notes is not None or target.teardown is not None:
                await close(request, target, response)
            request.closed = True
            if is_current:
                reset_current(token)
        return None

    async def answer_error(self, request: Incoming, error: Exception) -> Response:
        """The response that ``error`` becomes here; never raises an ``Exception``."""
        placement = request._target.placement
        return await self._composition.errors_of(placement).answer(request, error)

    async def report(self, request: Incoming, error: BaseException) -> None:
        """Note an unhandled error on the request, log it once, tell the observers."""
        request.notes.unhandled = error
        if request.bubbles:
            return  # The app that this one is mounted in will answer it, and report it then.
        method = request.scope.get("method", "WEBSOCKET")
        logger.error("unhandled error in %s %s", method, printable(request.path), exc_info=error)
        noted = (request.scope.get("extensions") or {}).get("microweb.errors")
        if noted is not None and self._propagates is not False:
            noted.append(error)
        await self.observers.notify("exception", request=request, error=error)

    def log_failure(self, message: str, error: BaseException) -> None:
        """Log an error that can no longer become an answer."""
        logger.error("%s", message, exc_info=error)

    # Start and stop ------------------------------------------------------------------------------

    async def _start_and_pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Where every call goes while the app is not composed and started."""
        if scope["type"] == "lifespan":
            return await self._runtime.serve(scope, receive, send)
        await self._start()
        return await self(scope, receive, send)

    async def _start(self) -> None:
        """Compose, and run the lifespans if no server did.

        Without lifespan events and with nothing to enter the app serves at once, with no task and no anyio loaded; a
        background task then starts the runtime when it first needs it.
        """
        if not self._runtime.started and self._host is None:
            self._loop = _get_running_loop()
            if self._loop is None or self._lifespans or self.assembly.has_mounted_apps:
                await self._runtime.ensure()
                return
        self._compose()
        self._gate = self._open_gate

    def _close_gate(self) -> None:
        self._gate = self._start_and_pass

    def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # PERF(websockets.text-turns): each message of a websocket passes through every coroutine around its view.
        if scope["type"] == "lifespan":
            return self._runtime.serve(scope, receive, send)
        if scope["type"] == "websocket":
            from microweb.websocketwalk import serve_websocket

            return serve_websocket(self, scope, receive, send)
        raise ValueError(f"an ASGI scope has type http, websocket or lifespan, not {scope['type']!r}")

    async def _enter(self, stack: AsyncExitStack, state: MutableMapping[str, Any]) -> None:
        """Build, freeze, then enter the lifespans: our own, in order, and those of mounted apps."""
        self._compose()
        stack.push_async_callback(self._stopped)
        ours = self._lifespan_state
        ours.enter(state, None if self._host is None else self._host._lifespan_state)
        for function in self._lifespans:
            given = await stack.enter_async_context(asynccontextmanager(function)(self))
            if isinstance(given, Mapping):
                ours.add(given)
            elif given is not None:
                raise TypeError(
                    f"the lifespan {describe(function)} yields a mapping for request.state, or nothing; "
                    f"it has yielded {given!r}"
                )
        for target in self.assembly.targets:
            if target.mount is not None:
                await self._enter_mounted(target.mount.target, stack, state)
        if self.debug and self._host is None:
            from microweb.debugger import LoopWatch

            stack.enter_context(LoopWatch(App.__call__))
        self._compose()  # Anew, if a lifespan has written to the config or overridden a dependency.
        self._gate = self._open_gate

    async def _enter_mounted(self, inner: Any, stack: AsyncExitStack, state: MutableMapping[str, Any]) -> None:
        """Enter the lifespans of a mounted app, once for each start, in however many places it is mounted."""
        from microweb.mounts import is_mountable_inside

        ours = self._lifespan_state
        if is_mountable_inside(inner):
            ours.add_inner(inner, inner._lifespan_state)
            # Of a start whose loop was closed nobody hears that it ended, and the app keeps its host.
            if inner._host is None or (inner._host is self and not inner._lifespan_state.is_entered_for(state)):
                inner._host = self
                await inner._enter(stack, state)
        elif not ours.knows(inner):
            from microweb.foreignlifespan import ForeignLifespan

            lifespan = await stack.enter_async_context(ForeignLifespan(inner, state))
            ours.add_foreign(inner, lifespan.own)

    @property
    def _outermost(self) -> App:
        """The app whose start was ours too: this one, or the one around it."""
        return self if self._host is None else self._host._outermost

    async def _stopped(self) -> None:
        self._close_gate()
        self._host = None
        self._lifespan_state.leave()
        if self._workers is not None:
            import anyio

            # Less than its share of the grace: a thread that does not end is left behind, and no exit that failed.
            share = anyio.current_effective_deadline() - anyio.current_time()
            await self._workers.aclose(min(5.0, max(0.1, 0.8 * share)))

    def _compose(self) -> None:
        """Give every target its handler. Called at start, and again after ``override()`` or a config write."""
        if self._composed:
            return
        self.limits = limits = Limits.of(self.config)
        self._runtime.shutting_down.farewells.patience = limits.background_timeout
        assembly = self.assembly if not self.frozen else Assembly(self)
        # One that a mistake keeps from being composed to its end is not taken up again: its table is frozen.
        self._assembly_version = None
        composition = Composition(assembly, self)
        composing = composition.compose_when_found() if self._has_overridden else None
        if composing is None:
            composition.compose_all()
        if not self.debug:
            self._debugger = None
        elif self._debugger is None:
            from microweb.debugger import Debugger

            self._debugger = Debugger(self)
        self._propagates: bool | None = self.config["PROPAGATE_EXCEPTIONS"]
        self._open_gate = make_gate(self, self._asgi_middleware, self._debugger, propagates=bool(self._propagates))
        if self._workers is not None and limits.sync_threads != self._workers.size:
            self._workers = None
        self._assembly, self._composition = assembly, composition
        self._bare_request_class = self.request_class if self.request_class.__init__ is Incoming.__init__ else None
        find = make_finder(assembly.table, limits, composition)
        self._find = find if composing is None else composing(find)
        self._find_websocket = None
        if composing is None and any(target.is_websocket for target in assembly.targets):
            self._find_websocket = self.find_websocket
        for placement in assembly.placements:
            placement.router.frozen = True
        self._composed = True
        # The program may have asked for jinja_env before its last registration.
        self._templates_version = -1

    @property
    def find_websocket(self) -> WebSocketFinder:
        """The look-up of websockets: composed with the rest if there are routes for them, else when one comes."""
        if self._find_websocket is None:
            from microweb.websocketcomposition import make_websocket_finder
            from microweb.websocketwalk import enter_mounted

            self._find_websocket = make_websocket_finder(self._composition, enter_mounted)
        return self._find_websocket

    def build_finder(self) -> Finder:
        """The look-up of what is registered so far, without freezing it."""
        self.limits = Limits.of(self.config)
        assembly = Assembly(self)
        composition = Composition(assembly, self)
        composition.compose_all()
        return make_finder(assembly.table, self.limits, composition)

    def _config_changed(self) -> None:
        self._composed = False
        self._sessions = None
        self._templates_version = -1
        self._close_gate()

    @property
    def assembly(self) -> Assembly:
        """The routes as registered so far; what was composed, once the app has started."""
        if not self.frozen:
            version = (count_registrations(self), self.strict_slashes)
            if version != self._assembly_version:
                self._assembly, self._assembly_version = Assembly(self), version
        assert self._assembly is not None
        return self._assembly

    # Templates -----------------------------------------------------------------------------------

    @property
    def templates(self) -> Templates:
        """The app's templates; jinja2 is loaded with them."""
        # PERF(pages.template): nothing can be registered any more once the app is composed.
        version = self._templates_version
        if version < 0 or not self._composed:
            version = count_registrations(self)
        if self._templates is None:
            from microweb.templating import Templates

            self._templates = Templates(self)
        elif self._templates_version != version:
            self._templates.refresh()
        self._templates_version = version
        return self._templates

    @property
    def jinja_env(self) -> Environment:
        """The Jinja environment, to be configured before the app starts."""
        return self.templates.environment

    # Sessions ------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        """What opens and saves this app's sessions.

        Raises:
            SetupError: no secret key is set.
        """
        if self._sessions is None:
            from microweb.sessions import Sessions

            self._sessions = Sessions(self.config, self._session_store)
        return self._sessions

    @property
    def session_store(self) -> SessionStore | None:
        """Where sessions are kept on the server; None keeps them in the cookie."""
        return self._session_store

    @session_store.setter
    def session_store(self, store: SessionStore | None) -> None:
        self._session_store = store
        self._config_changed()

    @property
    def channels(self) -> Channels:
        """Publish and subscribe between views: within this process, unless ``RedisChannels`` were put here.

        Those of a mounted app are its own.
        """
        if self._channels is None:
            from microweb.channels import Channels

            self._channels = Channels()
        return self._channels

    @channels.setter
    def channels(self, channels: Channels) -> None:
        self._changed("set the channels")
        self._channels = channels
        if isinstance(channels, AbstractAsyncContextManager):

            async def keep_channels_open(app: App) -> AsyncGenerator[None, None]:
                async with channels:
                    yield

            self._lifespans.append(keep_channels_open)

    # What composition and requests ask for --------------------------------------------------------

    @property
    def workers(self) -> WorkerPool:
        """The threads for ``def`` callables, ``SYNC_THREADS`` at most; loaded with the first of them."""
        if self._workers is None:
            from microweb.workers import WorkerPool

            self._workers = WorkerPool(self.limits.sync_threads)
        return self._workers

    def enter(self, target: Target) -> Handler:
        """The handler of a mounted app."""
        from microweb.mounts import is_mountable_inside, make_app_entrance, make_foreign_entrance

        assert target.mount is not None
        if is_mountable_inside(target.mount.target):
            return make_app_entrance(target)
        return make_foreign_entrance(target)

    def render_error(self, request: Request, error: BaseException) -> Response | None:
        """The page of an unhandled error; None for the built-in one. The outermost app's debugger makes it."""
        outermost: Incoming = request
        while outermost.parent is not None:
            outermost = outermost.parent
        debugger = outermost.app._debugger
        return debugger.render(request, error) if debugger is not None and self.debug else None

    # What a program asks for ----------------------------------------------------------------------

    @property
    def secret_key(self) -> str | bytes | None:
        """``config["SECRET_KEY"]``."""
        key: str | bytes | None = self.config["SECRET_KEY"]
        return key

    @secret_key.setter
    def secret_key(self, value: str | bytes | None) -> None:
        self.config["SECRET_KEY"] = value

    @property
    def debug(self) -> bool:
        """``config["DEBUG"]``."""
        return bool(self.config["DEBUG"])

    @debug.setter
    def debug(self, value: bool) -> None:
        self.config["DEBUG"] = value

    @property
    def testing(self) -> bool:
        """``config["TESTING"]``."""
        return bool(self.config["TESTING"])

    @testing.setter
    def testing(self, value: bool) -> None:
        self.config["TESTING"] = value

    @property
    def logger(self) -> logging.Logger:
        """The program's own logger, named after ``import_name``.

        In debug it tells everything; where nobody has set up logging, it writes to stderr.
        """
        from microweb.programlog import open_logger

        return open_logger(self.import_name, debug=self.debug)

    @property
    def permanent_session_lifetime(self) -> timedelta:
        """``config["PERMANENT_SESSION_LIFETIME"]``; set it in seconds or as a ``timedelta``."""
        from datetime import timedelta

        lifetime = self.config["PERMANENT_SESSION_LIFETIME"]
        return lifetime if isinstance(lifetime, timedelta) else timedelta(seconds=lifetime)

    @permanent_session_lifetime.setter
    def permanent_session_lifetime(self, value: timedelta | float) -> None:
        self.config["PERMANENT_SESSION_LIFETIME"] = value

    @property
    def shutting_down(self) -> ShutdownEvent:
        """Set when the server begins to stop: ``is_set()``, ``await wait()``."""
        return self._outermost._runtime.shutting_down

    @property
    def lifespan_state(self) -> Mapping[str, Any]:
        """What the lifespans have yielded; ``request.state`` is the request's own copy of it."""
        return self._lifespan_state.state

    def lifespan(self, function: LifespanFunction) -> LifespanFunction:
        """Run an async generator function around the app's life: its ``yield`` stands for the time it serves.

        Several nest in the order they are registered. A mapping that is yielded is added to ``request.state``;
        any other value but None is an error at the start.

        Raises:
            SetupError: it is no async generator function.
            FrozenError: the app has started to serve.
        """
        from inspect import isasyncgenfunction

        self._changed("add a lifespan")
        generates: bool = isasyncgenfunction(function)
        if not generates or not can_take(function, 1):
            if generates:
                fault = "takes no argument, or needs more than one"
            elif isasyncgenfunction(getattr(function, "__wrapped__", None)):
                fault = "would be one without its decorator; leave out @asynccontextmanager"
            else:
                fault = "is none"
            raise SetupError(
                "a lifespan is an `async def` with one `yield`, taking the app; "
                f"{describe(function)} {fault} ({find_place()})"
            )
        self._lifespans.append(function)
        return function

    def add_asgi_middleware(self, factory: Callable[..., ASGIApp], **options: Any) -> None:
        """Wrap the whole app in plain ASGI middleware, ``factory(app, **options)``; the first added is outermost.

        Raises:
            SetupError: ``factory`` cannot be called, or is a coroutine function.
            FrozenError: the app has started to serve.
        """
        self._changed("add ASGI middleware")
        if not callable(factory):
            raise SetupError(f"add_asgi_middleware takes a class or function, not {factory!r} ({find_place()})")
        # One that only wraps a coroutine function, a decorator's for instance, is called like any other.
        if not isinstance(factory, type) and any(map(iscoroutinefunction, (factory, type(factory).__call__))):
            raise SetupError(
                f"add_asgi_middleware takes a class or function that is given the ASGI app and gives another; "
                f"{describe(factory)} is awaited, so it belongs into add_middleware ({find_place()})"
            )
        self._asgi_middleware.append((factory, options))
        self.is_wrapped = True

    def add_middleware(self, layer: Callable[..., Any], **options: Never) -> None:
        """``middleware`` without the decorator; one that ``stands_around_app`` goes where ASGI middleware does."""
        if getattr(layer, "stands_around_app", False) and not options:
            self.add_asgi_middleware(layer)
        else:
            super().add_middleware(layer, **options)

    def add_background_task(self, function: Callable[..., Any], *args: Any) -> None:
        """Run ``function(*args)`` beside the requests: guarded, logged, drained when the app stops.

        It runs in a copy of the caller's context in which an app context stands for the request: ``g`` is new,
        ``request`` and ``session`` are unbound. A ``def`` function runs in a worker thread. Callable from any thread.

        Raises:
            TypeError: ``function`` cannot be called.
            RuntimeError: the app is not started, or is shutting down.
        """
        from microweb.backgroundtasks import check_task
        from microweb.latestart import begin_late

        check_task(function)
        host = self._outermost
        again = partial(self.add_background_task, function, *args)
        if host._loop is None or begin_late(host._runtime, host._loop, again):
            host._runtime.start_task(self._run_background, function, args, name=name_of(function))

    async def _run_background(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        from microweb.callables import is_async

        async with AppContext(self) as context:
            if is_async(function):
                value = function(*args)
            else:
                context._worker = self.workers.pick()
                value = await context._worker.run(function, *args)
            if hasattr(value, "__await__"):
                await value

    def on(self, event: EventName) -> Callable[[Function], Function]:
        """Call the decorated function at ``event``; see ``observers.py`` for the events and what each gives.

        Raises:
            SetupError: there is no such event, or the function asks for what the event does not tell.
            FrozenError: the app has started to serve.
        """
        place = find_place()
        self._changed(f"observe {event!r}")
        with located(place):
            add = self.observers.adder(event)

        def observe(function: Function) -> Function:
            with located(place):
                return add(function)

        return observe

    def url_for(
        self,
        /,
        endpoint: str,
        *,
        _anchor: str | None = None,
        _method: str | None = None,
        _scheme: str | None = None,
        _external: bool | None = None,
        **values: Any,
    ) -> str:
        """The URL of ``endpoint``; values that its rule has no place for become the query.

        ``.name`` is looked for in the current router first. ``_external=True`` gives a whole URL, from the
        current request or from ``SERVER_NAME``; ``_scheme`` implies it.

        Raises:
            BuildError: there is no such endpoint, or it needs other values; the message names them.
            OutsideContextError: a whole URL is asked for, outside of a request and without ``SERVER_NAME``.
            ValueError: ``_scheme`` is none.
        """
        context = current.get(None)
        incoming = context if isinstance(context, Incoming) and not context.closed else None
        while incoming is not None and incoming.app is not self:
            incoming = incoming.parent
        from microweb.links import build_url

        return build_url(
            self,
            incoming,
            endpoint,
            values,
            anchor=_anchor,
            method=_method,
            scheme=_scheme,
            external=_external,
        )

    def app_context(self) -> AppContext:
        """A context without a request: ``async with app.app_context(): ...`` binds ``current_app`` and ``g``.

        At its end observers of ``context_torn_down`` are told, and awaited. In synchronous code it is ``with``,
        which waits for those that are coroutine functions while they run on a loop of their own.
        """
        return AppContext(self)

    # Doors: what is imported here is needed by nobody who does not open them ------------------------

    def run(
        self,
        host: str | None = "127.0.0.1",
        port: int | str | None = 8000,
        *,
        debug: bool | None = None,
        reload: bool | None = None,
        workers: int = 1,
        **options: Any,
    ) -> None:
        """Serve the app with uvicorn until Ctrl-C or SIGTERM; further ``options`` are ``uvicorn.Config``'s.

        As in Flask ``host`` and ``port`` may be what ``os.environ.get`` gives: a text, or None for the default.

        ``debug`` sets ``app.debug``. ``reload`` runs the same command line again whenever a source file or a
        template changes, and defaults to ``debug``; ``reload_dirs`` and ``reload_includes`` (``["*.toml"]``)
        add to what is watched. Does nothing, with a warning, where an event loop runs in this thread.

        Raises:
            SystemExit: the app cannot start or the port is taken, after one sentence on stderr; or the code
                was reloaded or had several workers, and those have ended.
        """
        from microweb.server import run

        run(self, host, port, debug=debug, reload=reload, workers=workers, **options)

    def explain(self, method: str, path: str, *, host: str | None = None) -> Explanation:
        """Tell what answers ``method`` (or ``"WEBSOCKET"``) and ``path``, and every layer on the way.

        ``str()`` of what comes back is the text that ``microweb explain`` prints.

        Works before the app has started, with what is registered so far, and calls nothing of it.

        Raises:
            SetupError: the routes cannot be put together.
            ValueError: the path does not begin with a slash, or the host is malformed.
        """
        from microweb.explanation import explain

        return explain(self, method, path, host)

    def list_routes(self) -> list[ListedRoute]:
        """Every route with its whole path and name, then those of mounted microweb apps; Flask's ``iter_rules``.

        Works before the app has started, with what is registered so far.

        Raises:
            SetupError: the routes cannot be put together.
        """
        from microweb.routelist import iterate_routes

        return list(iterate_routes(self))

    def test_client(self, **options: Any) -> Client:
        """A client for ``async def`` tests: ``async with app.test_client() as client``. Options: ``Client``'s."""
        from microweb.testing import Client

        return Client(self, **options)

    def test_cli_runner(self, **options: Any) -> CommandRunner:
        """A runner for tests of commands: ``app.test_cli_runner().invoke(args=["hello"])``; the options are click's."""
        from microweb.cli.commandrunner import CommandRunner

        return CommandRunner(self, **options)

    @without_options(OF_A_TEST_REQUEST)
    def test_request_context(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        base_url: str = "http://localhost",
    ) -> RequestContext:
        """A context with a request that came from nowhere: ``with app.test_request_context("/?page=2"): ...``

        The URL is matched, so ``request.endpoint`` and ``request.view_args`` are there; no view and no hook is
        called. In the block the request is the ``SyncRequest``, as in ``def`` views; in that of ``async with`` the
        ``Request``. At the end of either, uploads are closed and observers of ``context_torn_down`` are told.

        Raises:
            ValueError: the path does not begin with a slash.
        """
        from microweb.requestcontext import RequestContext, make_receive, make_scope

        scope = make_scope(path, method, headers, body, base_url)
        find = self._find if self._composed else self.build_finder()
        return RequestContext(self.request_class(self, scope, make_receive(body), *find(scope)))

    @property
    def overrides(self) -> Mapping[Any, Any]:
        """The functions that stand in for dependencies now."""
        return {dependency: active[-1].replacement for dependency, active in self._overrides.items() if active}

    def override(self, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> Override:
        """Use ``replacement`` wherever ``Depends(dependency)`` stands; as a context manager, for its length.

        Handlers are composed anew at the next request; once the app has started, only those that are asked for.

        Raises:
            SetupError: one of the two cannot be called.
        """
        for given in (dependency, replacement):
            if not callable(given):
                raise SetupError(f"override(dependency, replacement) takes functions, not {given!r} ({find_place()})")
        from microweb.overrides import Override

        runtime = self._outermost._runtime
        # What a lifespan overrides is for good, and a mistake in it stops the start.
        is_starting = runtime.running and not runtime.started
        self._has_overridden = self._has_overridden or (self.frozen and not is_starting)
        return Override(self._overrides, dependency, replacement, self._config_changed)

    def __repr__(self) -> str:
        return f"<App {self.import_name or ''}>"
