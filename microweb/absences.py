"""Attributes that programs written for Flask or Quart use, and that are not here: each says what to write instead.

Without them a setting such as ``app.session_interface = ...`` would be taken in silence and do nothing. They are no
part of the interface: ``hasattr`` says no, and type checkers do not see them. Read by ``router.py``, ``app.py``,
``context.py``, ``requestcontext.py``, ``errors.py``, ``accept.py``, ``headers.py``, ``multidict.py``, ``incoming.py``,
``requests.py``, ``responses.py`` and ``websockets.py``; options of functions by ``router.py`` and ``app.py``; names
that are imported by the package itself, options of ``app.run`` by ``server.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

__all__ = [
    "OF_ACCEPTING",
    "OF_AN_APP",
    "OF_AN_ERROR",
    "OF_A_CONTEXT",
    "OF_A_COROUTINES_REQUEST",
    "OF_A_MULTI_DICT",
    "OF_A_REQUEST",
    "OF_A_RESPONSE",
    "OF_A_ROUTER",
    "OF_A_SYNC_REQUEST",
    "OF_A_TEST_REQUEST",
    "OF_A_WEBSOCKET",
    "OF_HEADERS",
    "OF_HEADER_LINES",
    "OF_LIMITING_A_REQUEST",
    "OF_MAKING_AN_APP",
    "OF_MAKING_A_ROUTER",
    "OF_MOUNTING",
    "OF_THE_PACKAGE",
    "OF_THE_SERVER",
    "make_import_absence",
    "without",
    "without_options",
]

Class = TypeVar("Class", bound=type)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

OF_A_ROUTER = {
    "add_url_rule": "add_route(rule, view)",
    "register_blueprint": "mount(prefix, router)",
    "register_error_handler": "errorhandler(404)(function)",
    "open_resource": "open(Path(app.root_path, name))",
    "before_app_request": "before_request of the app",
    "after_app_request": "after_request of the app",
    "teardown_app_request": "teardown_request of the app",
    "app_errorhandler": "errorhandler of the app",
    "app_context_processor": "context_processor of the app",
    "app_template_filter": "template_filter of the app",
    "app_template_test": "template_test of the app",
    "app_template_global": "template_global of the app",
    "app_url_defaults": "url_defaults of the app",
    "app_url_value_preprocessor": "url_value_preprocessor of the app",
    "add_app_template_filter": "template_filter(name)(function) of the app",
    "add_app_template_global": "template_global(name)(function) of the app",
    "add_app_template_test": "template_test(name)(function) of the app",
    "add_template_filter": "template_filter(name)(function)",
    "add_template_test": "template_test(name)(function)",
    "add_template_global": "template_global(name)(function)",
    "endpoint": "add_route(rule, view, endpoint=name)",
    "jinja_loader": "template_folder, or jinja_env.loader of the app",
    "record": "a function that takes the app",
    "record_once": "a function that takes the app",
    "url_prefix": "prefix",
}

OF_AN_APP = {
    "aborter": "abort",
    "after_serving": "lifespan",
    "after_websocket": "websocket_middleware",
    "app_ctx_globals_class": "g, which takes any attribute",
    "async_to_sync": "await, or microweb.sync.call_from_thread(function, ...) in a def view",
    "before_first_request": "lifespan",
    "before_serving": "lifespan",
    "blueprints": "mounts, or list_routes()",
    "ensure_sync": "await, or microweb.sync.call_from_thread(function, ...) in a def view",
    "instance_path": "a path in the config",
    "jinja_environment": "jinja_env",
    "jinja_options": "jinja_env",
    "json": "jsonify, or a Response with what another encoder wrote",
    "json_encoder": "a Response with what another encoder wrote",
    "json_provider_class": "a Response with what another encoder wrote",
    "make_default_options_response": "the middleware CORS, or a Response with the header Allow",
    "make_response": "make_response of microweb",
    "redirect": "redirect of microweb",
    "request_context": "test_request_context(path, method=, headers=, body=)",
    "response_class": "Response or StreamingResponse, and an after_request function for all answers",
    "session_interface": "session_store",
    "select_jinja_autoescape": "jinja_env.autoescape",
    "shell_context_processor": "imports in the shell",
    "teardown_appcontext": "on('context_torn_down')",
    "test_cli_runner_class": "test_cli_runner()",
    "test_client_class": "microweb.testing.Client(app)",
    "url_build_error_handlers": "url_for in a try statement",
    "url_map": "list_routes(), converters, strict_slashes=, or explain(method, path)",
    "url_rule_class": "options of the route",
    "view_functions": "list_routes()",
    "while_serving": "lifespan",
    "wsgi_app": "add_asgi_middleware(Middleware)",
}

OF_AN_ERROR = {
    "get_body": "description",
    "get_description": "description",
    "get_headers": "headers",
    "get_response": "(body, error.code), returned by the handler",
}

OF_A_REQUEST = {
    "accept_charsets": 'headers.get("accept-charset")',
    "accept_encodings": 'headers.get("accept-encoding")',
    "accept_mimetypes": "accept",
    "access_control_request_headers": 'headers.get("access-control-request-headers"), or the middleware CORS',
    "access_control_request_method": 'headers.get("access-control-request-method"), or the middleware CORS',
    "access_route": "remote_addr",
    "blueprints": "blueprint",
    "cache_control": 'headers.get("cache-control")',
    "content_encoding": 'headers.get("content-encoding")',
    "content_md5": 'headers.get("content-md5")',
    "date": 'headers.get("date")',
    "environ": "scope",
    "if_match": 'headers.get("if-match"), or response.make_conditional(request)',
    "if_modified_since": 'headers.get("if-modified-since"), or response.make_conditional(request)',
    "if_none_match": 'headers.get("if-none-match"), or response.make_conditional(request)',
    "if_range": 'headers.get("if-range")',
    "if_unmodified_since": 'headers.get("if-unmodified-since"), or response.make_conditional(request)',
    "max_forwards": 'headers.get("max-forwards")',
    "mimetype_params": "content_type",
    "origin": 'headers.get("origin")',
    "pragma": 'headers.get("pragma")',
    "range": 'headers.get("range")',
    "root_url": "url_root",
    "routing_exception": "route, which is None where none matched",
    "script_root": "root_path",
    "url_rule": "route",
}

OF_LIMITING_A_REQUEST = {
    "max_form_memory_size": "max_form_memory_size= of the route, or MAX_FORM_MEMORY_SIZE in app.config",
    "max_form_parts": "max_form_parts= of the route, or MAX_FORM_PARTS in app.config",
    "trusted_hosts": "TRUSTED_HOSTS in app.config",
}

OF_A_COROUTINES_REQUEST = {
    "data": "await request.body()",
    "get_data": "await request.body(), or await request.text()",
    "get_json": "await request.json()",
    "values": "args, and await request.form()",
}

OF_A_SYNC_REQUEST = {
    "body": "data",
    "is_disconnected": "await request.is_disconnected() in an async def view",
    "parts": "form and files, or `async for part in request.parts()` in an async def view",
    "stream": "data or files, or `async for chunk in request.stream()` in an async def view",
    "text": "get_data(as_text=True)",
}

OF_A_WEBSOCKET = {
    "requested_subprotocols": "subprotocols",
    "send": "await websocket.send_text(...), send_bytes(...) or send_json(...)",
}

OF_A_RESPONSE = {
    "accept_ranges": 'headers["accept-ranges"]',
    "access_control_allow_credentials": 'headers["access-control-allow-credentials"], or the middleware CORS',
    "access_control_allow_headers": 'headers["access-control-allow-headers"], or the middleware CORS',
    "access_control_allow_methods": 'headers["access-control-allow-methods"], or the middleware CORS',
    "access_control_allow_origin": 'headers["access-control-allow-origin"], or the middleware CORS',
    "access_control_expose_headers": 'headers["access-control-expose-headers"], or the middleware CORS',
    "access_control_max_age": 'headers["access-control-max-age"], or the middleware CORS',
    "age": 'headers["age"]',
    "allow": 'headers["allow"]',
    "autocorrect_location_header": "redirect(url_for(..., _external=True))",
    "cache_control": 'headers["cache-control"]',
    "calculate_content_length": "len(response.body)",
    "call_on_close": "request.after_response(function)",
    "content_encoding": 'headers["content-encoding"]',
    "content_language": 'headers["content-language"]',
    "content_length": 'headers["content-length"]',
    "content_location": 'headers["content-location"]',
    "content_md5": 'headers["content-md5"]',
    "content_range": 'headers["content-range"]',
    "content_security_policy": 'headers["content-security-policy"], or the middleware SecurityHeaders',
    "content_security_policy_report_only": 'headers["content-security-policy-report-only"]',
    "cross_origin_embedder_policy": 'headers["cross-origin-embedder-policy"]',
    "cross_origin_opener_policy": 'headers["cross-origin-opener-policy"]',
    "date": 'headers["date"]',
    "default_mimetype": "content_type= of each response",
    "default_status": "status= of each response",
    "direct_passthrough": "is_streamed, which says whether there are no bytes to read",
    "expires": 'headers["expires"]',
    "force_type": "make_response(value)",
    "freeze": "nothing in its place: the bytes are there unless is_streamed",
    "get_etag": 'headers.get("etag")',
    "get_json": "json.loads(response.body)",
    "is_json": 'mimetype == "application/json"',
    "is_sequence": "is_streamed",
    "iter_encoded": "body, or the iterable of a StreamingResponse",
    "json": "json.loads(response.body)",
    "mimetype_params": "content_type",
    "response": "body, or the iterable of a StreamingResponse",
    "retry_after": 'headers["retry-after"]',
    "status": "status_code",
    "stream": "StreamingResponse(generator)",
    "vary": 'headers.vary("...")',
    "www_authenticate": 'headers["www-authenticate"]',
}

OF_ACCEPTING = {
    "accept_html": '"text/html" in request.accept',
    "accept_json": '"application/json" in request.accept',
    "best_match": "best([...])",
}

OF_HEADER_LINES = {
    "get_all": "getlist(name)",
}

OF_HEADERS = {
    "add_header": "add(name, value)",
    "set": "headers[name] = value",
    "setlist": "remove(name), then add(name, value) for each",
    "to_wsgi_list": "list(headers.items())",
}

OF_A_MULTI_DICT = {
    "deepcopy": "to_dict(flat=False)",
    "listvalues": "lists()",
    **dict.fromkeys(("add", "pop", "poplist", "setdefault", "setlist", "update"), "to_dict(), which may be changed"),
}

OF_THE_PACKAGE = {
    "Blueprint": "Router",
    "Config": "app.config",
    "Flask": "App",
    "Markup": "markupsafe.Markup",
    "appcontext_tearing_down": "app.on('context_torn_down')",
    "copy_current_request_context": "copy_current_context",
    "escape": "markupsafe.escape",
    "get_template_attribute": "app.jinja_env.get_template(name).module",
    "got_request_exception": "app.on('exception')",
    "has_app_context": "bool(current_app)",
    "has_request_context": "bool(request)",
    "request_finished": "app.on('request_finished')",
    "request_started": "app.on('request_started')",
    "request_tearing_down": "app.on('context_torn_down')",
    "stream_with_context": "the generator as it is: the request lasts as long as the stream",
    "template_rendered": "app.on('template_rendered')",
}

OF_MAKING_A_ROUTER = {
    "cli_group": "router.cli",
    "root_path": "import_name: relative folders start where that module is",
    "subdomain": 'host="<tenant>.example.org"',
    "url_defaults": "@router.url_defaults",
    "url_prefix": "prefix=",
}

OF_MAKING_AN_APP = {
    "host_matching": "host= of the routes and routers",
    "instance_path": "a path in the config",
    "instance_relative_config": "a path: app.config.from_pyfile(Path(app.root_path, name))",
    "root_path": "import_name: relative folders start where that module is",
    "static_host": "a Router(host=..., static_folder=...)",
    "subdomain_matching": 'host="<tenant>.example.org" of the routes and routers',
}

OF_A_CONTEXT = {
    "pop": "the end of a `with` block",
    "push": "with app.app_context(): ..., or with app.test_request_context(): ...",
}

OF_A_TEST_REQUEST = {
    "content_type": 'headers={"content-type": ...}',
    "data": "body=, of bytes, and the content type in headers=",
    "json": 'body=json.dumps(...).encode() and headers={"content-type": "application/json"}',
    "query_string": "the path: test_request_context('/?page=2')",
}

OF_MOUNTING = {
    "subdomain": 'Router(host="<tenant>.example.org")',
    "url_defaults": "@router.url_defaults",
    "url_prefix": "mount(prefix, router)",
}

OF_THE_SERVER = {
    "extra_files": "reload_includes=",
    "load_dotenv": "microweb.config.load_dotenv_file(path)",
    "processes": "workers=",
    "ssl_context": "ssl_certfile= and ssl_keyfile=",
    "threaded": "nothing in its place: def views run in threads",
    "use_debugger": "debug=",
    "use_reloader": "reload=",
}


class Absence:
    """Stands for an attribute that is not there; whoever reads it is told what to use."""

    def __init__(self, instead: str) -> None:
        self.instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__} has no {self.name}; use {self.instead}")


class SettingAbsence(Absence):
    """The same for whoever sets it: the setting would be passed over."""

    def __set__(self, instance: object, value: Any) -> None:
        raise AttributeError(f"{type(instance).__name__} has no {self.name} to be set; use {self.instead}")


def without(names: Mapping[str, str], *, may_be_set: bool = False) -> Callable[[Class], Class]:
    """Let a class say what to use in place of each of ``names``.

    With ``may_be_set`` a program may have them for itself, as what a hook puts on a request.

    >>> @without({"colour": "color"})
    ... class Paint: ...
    >>> Paint().colour
    Traceback (most recent call last):
        ...
    AttributeError: Paint has no colour; use color
    """

    def declare(owner: Class) -> Class:
        holder: Any = owner  # for super(), which mypy lets have no type variable

        def check(cls: type, /, **options: Any) -> None:
            super(holder, cls).__init_subclass__(**options)
            for name in vars(cls).keys() & names.keys():
                # A function or a property is a way to have the name nevertheless; a setting would be passed over.
                if not hasattr(vars(cls)[name], "__get__"):
                    raise AttributeError(
                        f"{holder.__name__} has no {name} to be set in {cls.__qualname__}; use {names[name]}"
                    )

        for name, instead in names.items():
            absence = Absence(instead) if may_be_set else SettingAbsence(instead)
            absence.__set_name__(owner, name)
            setattr(owner, name, absence)
        if may_be_set:
            return owner
        owner.__init_subclass__ = classmethod(check)  # type: ignore[assignment]  # mypy wants a method of `owner` itself
        return owner

    return declare


def without_options(
    options: Mapping[str, str],
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function say what to use in place of each of ``options``; it is a ``TypeError``, as for unknown ones.

    >>> @without_options({"colour": "color="})
    ... def paint(color): ...
    >>> paint(colour="red")
    Traceback (most recent call last):
        ...
    TypeError: paint() has no colour=; use color=
    """

    def declare(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @wraps(function)
        def call(*args: Parameters.args, **given: Parameters.kwargs) -> Result:
            for name in options.keys() & given.keys():
                raise TypeError(f"{function.__qualname__}() has no {name}=; use {options[name]}")
            return function(*args, **given)

        return call

    return declare


def make_import_absence(name: str) -> AttributeError | ImportError | None:
    """The error for a name of ``flask`` that ``microweb`` has not, to be raised by the package's ``__getattr__``.

    ``from microweb import name`` puts its own message in place of that of an AttributeError, and so would not say what
    to use: it gets an ImportError. It asks from the import system, which looks for a submodule of that name afterwards;
    ``hasattr`` and its like ask from elsewhere.
    """
    if name not in OF_THE_PACKAGE:
        return None
    message = f"microweb has no {name}; use {OF_THE_PACKAGE[name]}"
    if sys._getframe(2).f_globals.get("__name__") == "importlib._bootstrap":
        return ImportError(message, name="microweb")
    return AttributeError(message)
