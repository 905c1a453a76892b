"""Serving an app on a socket with uvicorn: what is behind ``App.run`` and ``microweb run``.

``run`` and ``serve`` decide how: in this process, or, to reload or with several workers, as the parent of
others (``supervisor.py``), which come here again and serve in theirs. Nothing but this file knows uvicorn.
"""

from __future__ import annotations

import copy
import errno
import inspect
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from microweb.absences import OF_THE_SERVER
from microweb.app import App
from microweb.assembly import Assembly
from microweb.composition import Composition, limits_of
from microweb.errors import SetupError
from microweb.filewatch import FileWatch, find_source_folders
from microweb.limits import Limits
from microweb.loops import find_current_loop
from microweb.redaction import shown
from microweb.router import Router
from microweb.serverlog import log_errors_once
from microweb.supervisor import Child, Supervisor, can_run_again, command_line, say
from microweb.websocketcomposition import compose_websockets
from microweb.websocketwalk import enter_mounted

if TYPE_CHECKING:
    from uvicorn import Config, Server

    from microweb.debugger.refresh import BrowserRefresh

__all__ = ["ServeError", "ignore_runs", "run", "serve"]

RELOAD_GRACE = 2.0
"""Seconds that requests have to end when the files have changed: somebody waits at the keyboard."""

LAST_MOMENT = 7.0
"""Seconds beyond the grace: for what was cancelled, and the five that worker threads have (``WorkerPool.close``), which
then tells which view is left behind. After a second Ctrl-C the lifespans end only in them."""


NO_LIMIT = 1 << 40
"""Bytes of a websocket message where there is no limit: uvicorn counts with a number."""


class ServeError(Exception):
    """The app cannot be served like that, on that address for instance; the message is for the terminal."""


def run(
    app: App,
    host: str | None = "127.0.0.1",
    port: int | str | None = 8000,
    *,
    debug: bool | None = None,
    reload: bool | None = None,
    workers: int = 1,
    **options: Any,
) -> None:
    """Serve an app object until a signal comes; the arguments are those of ``App.run``.

    Raises:
        SystemExit: it cannot be served, after one sentence on stderr; or this process was the parent of those
            that did.
    """
    if _ignoring:
        say(
            "app.run() does nothing here, for `microweb` is about to use the app itself; "
            'put it below `if __name__ == "__main__":`'
        )
        return
    if find_current_loop() is not None:
        warnings.warn(
            "app.run() does nothing while an event loop runs in this thread: what runs it (a server, a "
            "notebook) can serve the app itself, or call run() in a thread of its own",
            RuntimeWarning,
            stacklevel=3,
        )
        return
    if debug is not None:
        app.debug = debug
    if reload is None:
        reload = app.debug and workers == 1
    try:
        # Nothing is this machine, as in Flask: to the system it would be every address that this one has.
        host, port = host or "127.0.0.1", read_port(port)
        serve(lambda: (app, name_of(app)), host, port, reload=reload, workers=workers, **options)
    except (ServeError, SetupError) as error:
        sys.exit(f"Error: {error}")


def read_port(given: Any) -> int:
    """The port that a program gave; also the text of an environment variable, or nothing, as in Flask.

    Raises:
        ServeError: it is no number.
    """
    try:
        return 8000 if given in (None, "") else int(given)
    except (TypeError, ValueError):
        raise ServeError(f"a port is a number from 0 to 65535, not {given!r}") from None


_ignoring: list[str] = []
"""Not empty while a command imports a program, which may call ``run`` as it is imported."""


@contextmanager
def ignore_runs() -> Iterator[None]:
    """Let ``App.run`` do nothing but say so: a program is imported by a command that has its own plans."""
    _ignoring.append("")
    try:
        yield
    finally:
        _ignoring.pop()


def serve(
    load: Callable[[], tuple[App, str]],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    reload: bool = False,
    workers: int = 1,
    reload_dirs: Sequence[str | Path] = (),
    reload_includes: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> None:
    """Serve the app that ``load`` gives, together with a name for it, in the process that serves.

    Nothing is loaded in a process that is only the parent of those. ``options`` are uvicorn's. ``environ``
    is the environment to give to child processes.

    Raises:
        ServeError: the address is taken or cannot be had, or the options do not fit.
        SetupError: the app is put together wrongly.
        SystemExit: the app could not start, with code 1, after its error was logged; or this process was
            the parent of those that served.
    """
    check_workers(workers, reload=reload, options=options)
    child = Child.find()
    brings_address = options.get("uds") is not None or options.get("fd") is not None
    if child is None and (reload or workers > 1) and is_repeatable(workers):
        listener = None if brings_address or os.name != "posix" else bind(host, port)
        folders = find_source_folders(reload_dirs)
        watch = FileWatch(folders, reload_includes) if reload else None
        supervisor = Supervisor(command_line(), listener, workers=workers, watch=watch, environ=environ)
        sys.exit(supervisor.run())
    if child is not None:
        child.follow_parent()
    app, name = load()
    check(app)
    listener = child.listener if child is not None else None
    if brings_address:
        check_address(options.get("uds"), options.get("fd"))
    elif listener is None:
        listener = bind(host, port)
    limits = Limits.of(app.config)
    grace = min(limits.graceful_timeout, RELOAD_GRACE) if reload else limits.graceful_timeout
    try:
        served = refreshing(app) if reload and child is not None else app
        config = make_config(served, host, port, options, grace=grace, max_message=find_greatest_message(app))
        server = make_server(app, name, config, listener, child, grace=grace, reload=reload)
        with log_errors_once(lambda: server.should_exit):
            run_server(server, listener)
    except KeyboardInterrupt:
        pass  # Ctrl-C before uvicorn had its own handler in place.
    finally:
        if listener is not None:
            listener.close()


def run_server(server: Server, listener: socket.socket | None) -> None:
    """Serve until a signal comes.

    Raises:
        SystemExit: the app could not start, with code 1.
    """
    try:
        server.run(sockets=[listener] if listener is not None else None)
    except SystemExit:
        if not server.should_exit:  # Else it was asked to stop before it had started, and has stopped.
            raise SystemExit(1) from None  # uvicorn's own code for a failed start is 3


def check_workers(workers: int, *, reload: bool, options: Mapping[str, Any]) -> None:
    """Refuse a number of workers that cannot be.

    Raises:
        ServeError: there are none, or what goes with them goes with one worker only.
    """
    if workers < 1:
        raise ServeError(f"a server needs one worker or more, not {workers}")
    if workers > 1:
        if reload:
            raise ServeError("reloading works with one worker: leave out one of the two")
        if options.get("uds") is not None or options.get("fd") is not None:
            raise ServeError("several workers share a host and port, not a Unix socket or a descriptor")
        if os.name != "posix":
            raise ServeError("several workers need a system that lets processes share a socket; run one")


def is_repeatable(workers: int) -> bool:
    """Whether this process can be the parent of others like it; says why not.

    Raises:
        ServeError: it cannot, and there should be several workers.
    """
    if not can_run_again():
        reason = "this program was not started from a file"
    elif threading.current_thread() is not threading.main_thread():
        reason = "run() was not called in the main thread"
    else:
        return True
    if workers > 1:
        raise ServeError(f"there is no second worker, since {reason}")
    say(f"no reload on changes, since {reason}")
    return False


def check(app: App) -> None:
    """Put the app together once without keeping it, so that its mistakes are told before anything starts.

    Raises:
        SetupError: the app cannot start.
    """
    for here, assembly in find_apps(app):
        Limits.of(here.config)
        composition = Composition(assembly, here)
        composition.compose_all()
        if any(target.is_websocket for target in assembly.targets):
            compose_websockets(composition, enter_mounted)


def find_apps(app: App) -> Iterator[tuple[Any, Assembly]]:
    """The app, and those of microweb that are mounted in it, each with what it is put together of."""
    waiting: list[Any] = [app]
    while waiting:
        here = waiting.pop()
        assembly = Assembly(here)
        yield here, assembly
        mounted = [target.mount.target for target in assembly.targets if target.mount is not None]
        waiting += [inner for inner in mounted if isinstance(inner, Router)]


def find_greatest_message(app: App) -> int | None:
    """The bytes of the largest message that any websocket takes, which the server lets through; None for no limit."""
    greatest = 0
    for here, assembly in find_apps(app):
        limits = Limits.of(here.config)
        for each in (limits, *(limits_of(target, limits) for target in assembly.targets if target.is_websocket)):
            if each.websocket_max_message is None:
                return None
            greatest = max(greatest, each.websocket_max_message)
    return greatest


# The address -------------------------------------------------------------------------------------


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on the address; port 0 takes any free one.

    Raises:
        ServeError: there is no such address here, or it is taken or forbidden.
    """
    if not 0 <= port <= 65535:
        raise ServeError(f"a port is a number from 0 to 65535, not {port}")
    where = f"port {port} of {host}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ServeError(f"{host!r} is no address to serve on: {reason_of(error)}") from None
    # `localhost` is two addresses, and one socket is enough: browsers try both.
    family, kind, protocol, _, address = min(found, key=lambda item: item[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(2048)  # as uvicorn does
    except OSError as error:
        listener.close()
        if isinstance(error, PermissionError):
            raise ServeError(f"{where} is not yours to serve on; choose one above 1023") from None
        if error.errno == errno.EADDRINUSE:
            raise ServeError(f"{where} is taken by another program; stop that, or choose another port") from None
        raise ServeError(f"cannot serve on {where}: {reason_of(error)}") from None
    return listener


def check_address(uds: Any, fd: Any) -> None:
    """Refuse a Unix socket or a descriptor that cannot be there: uvicorn finds out after the app has started.

    Raises:
        ServeError: there is no such folder, or no such descriptor.
    """
    try:
        if uds is not None:
            os.stat(os.path.dirname(os.path.abspath(uds)))  # noqa: PTH100, PTH116, PTH120 - as uvicorn reads it
        else:
            os.fstat(fd)
    except (OSError, TypeError, ValueError, OverflowError) as error:
        where = f"the Unix socket {uds!r}" if uds is not None else f"the descriptor {fd!r}"
        raise ServeError(f"cannot serve on {where}: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """What the system says, without the number."""
    return str(getattr(error, "strerror", None) or error)


# The server --------------------------------------------------------------------------------------


def make_config(
    served: App | BrowserRefresh,
    host: str,
    port: int,
    options: Mapping[str, Any],
    *,
    grace: float,
    max_message: int | None,
) -> Config:
    """What uvicorn is told: the options, and our defaults where they differ from its own.

    Raises:
        ServeError: uvicorn has no such option, or cannot use what it holds.
    """
    import uvicorn  # here: whoever is only the parent of servers, or lists routes, does not need it

    known = set(inspect.signature(uvicorn.Config).parameters) - {"app", "factory"}
    unknown = sorted(set(options) - known)
    if unknown:
        instead = OF_THE_SERVER.get(unknown[0])
        hint = f"use {instead}" if instead else f"uvicorn.Config has {', '.join(sorted(known))}"
        raise ServeError(f"the server has no option {unknown[0]!r}; {hint}")
    settings: dict[str, Any] = {
        "lifespan": "on",
        "log_config": make_log_config(),
        "timeout_graceful_shutdown": math.ceil(grace),
        # Nothing from a proxy is trusted unless listed; the middleware ProxyHeaders takes the list.
        "proxy_headers": False,
    }
    settings["ws_max_size"] = NO_LIMIT if max_message is None else max_message
    settings |= options
    try:
        config = uvicorn.Config(served, host=host, port=port, **settings)
        config.load()  # reads certificates and the like; uvicorn's server would do it as it starts
        return config
    except Exception as error:  # noqa: BLE001 - what comes of a wrong value is uvicorn's, and may be anything
        given = ", ".join(f"{option}={shown(option, value)}" for option, value in sorted(options.items()))
        described = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ServeError(f"the server cannot be made with {given or 'its defaults'}: {described}") from None


def make_server(
    app: App,
    name: str,
    config: Config,
    listener: socket.socket | None,
    child: Child | None,
    *,
    grace: float,
    reload: bool,
) -> Server:
    """A server that is ready to run."""
    import uvicorn

    class AppServer(uvicorn.Server):
        """uvicorn's server, which tells the app of the shutdown when the signal comes, and us of the start.

        uvicorn ends the lifespan after the last connection; a stream without an end has to know before.
        """

        last_resort: threading.Timer | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Start the app and accept connections, then tell."""
            await super().startup(sockets)
            if not self.started:
                return
            if child is None or child.is_first:
                announce(app, name, address_of(config, listener), reload=reload)
            if child is not None:
                # The connections may take that time, and then the lifespans.
                child.tell_started(2 * grace + 3)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """End connections and lifespans. A ``def`` generator that never gives its thread back is left then."""
            begun = time.monotonic()
            await super().shutdown(sockets)
            if threading.current_thread() is threading.main_thread():
                # The loop would wait for it, and the process with it; uvicorn's own signal would end both.
                left = max(0.0, begun + grace - time.monotonic())
                self.last_resort = threading.Timer(left + LAST_MOMENT, give_up)
                self.last_resort.daemon = True
                self.last_resort.start()

        def run(self, sockets: list[socket.socket] | None = None) -> None:
            """Serve until a signal comes."""
            try:
                super().run(sockets)
            finally:
                if self.last_resort is not None:
                    self.last_resort.cancel()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Stop gracefully at the first signal, at once at a second Ctrl-C.

            Not uvicorn's own, which sends itself the signal anew at the end: a server that was asked to stop
            and has stopped did not fail, and what a script does after ``run`` is still to be done.
            """
            if self.should_exit and sig == signal.SIGINT:
                self.force_exit = True
            self.should_exit = True
            app.shutting_down.set()

    return AppServer(config)


def give_up() -> None:
    """End the process as it is."""
    try:
        say("something in a thread does not end; the process ends without it")
        logging.shutdown()
        sys.stdout.flush()
    finally:
        os._exit(1)  # Also when nobody reads the output any more.


def refreshing(app: App) -> App | BrowserRefresh:
    """The app, with pages that browsers load again after a change if it is in debug."""
    if not app.debug or not app.config["BROWSER_REFRESH"]:
        return app
    from microweb.debugger.refresh import BrowserRefresh, hide_from_access_log

    hide_from_access_log()
    return BrowserRefresh(app)


def announce(app: App, name: str, address: str, *, reload: bool) -> None:
    """Say what is served, and where."""
    from microweb import __version__

    counts: dict[str, int] = {}
    for rule in app.assembly.table.rules:
        counts[rule.kind] = counts.get(rule.kind, 0) + 1
    parts = [
        f"{count} {word}{'' if count == 1 else 's'}"
        for kind, word in (("http", "route"), ("websocket", "websocket route"), ("mount", "mounted app"))
        if (count := counts.get(kind, 0)) or kind == "http"
    ]
    parts.append(f"debug {'on' if app.debug else 'off'}")
    if reload:
        parts.append("reloads on change")
    sys.stderr.write(f"microweb {__version__} serves {name}: {', '.join(parts)}\n")
    sys.stderr.write(f"{address}  (Ctrl-C stops it)\n")
    sys.stderr.flush()


def address_of(config: Config, listener: socket.socket | None) -> str:
    """The URL, as a browser takes it."""
    if listener is None:
        return f"unix:{config.uds}" if config.uds is not None else f"descriptor {config.fd}"
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
        note = ", and all other addresses of this machine"
    else:
        note = ""
    scheme = "https" if config.is_ssl else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{note}"


def make_log_config() -> dict[str, Any]:
    """uvicorn's logging, less what the announcement says already, and our own where nobody listens to it."""
    from uvicorn.config import LOGGING_CONFIG

    settings: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    settings["loggers"]["uvicorn.error"]["level"] = "WARNING"
    ours = logging.getLogger("microweb")
    if not ours.hasHandlers():
        settings["loggers"]["microweb"] = {"handlers": ["default"], "level": "INFO"}
    return settings


def name_of(app: App) -> str:
    """What the app is called: its module, or the file of the script that made it."""
    if app.import_name in (None, "__main__"):
        return Path(sys.argv[0]).name if can_run_again() else "an app"
    return str(app.import_name)
