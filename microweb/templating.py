"""Templates: Jinja2 for one app, made when it is first asked for.

Templates are looked for in the app's folder, then in those of its routers in the order they were mounted. They render
synchronously: twice as fast as Jinja's async mode, and what they need was awaited before. ``request``, ``session``,
``g``, ``config``, ``current_app``, ``url_for``, ``get_flashed_messages`` and ``csp_nonce`` are there in every template,
imported ones included. jinja2 is loaded with this file, which ``microweb`` loads when one of its names is first used.
"""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template, select_autoescape

from microweb import json
from microweb.composition import check_synchronous
from microweb.flashing import get_flashed_messages
from microweb.incoming import Incoming
from microweb.proxies import Proxy, current_app, find_context, find_incoming, g, session, url_for
from microweb.registrations import Registration
from microweb.requests import Request, SyncRequest

__all__ = ["Templates", "render_template", "render_template_string", "stream_template", "stream_template_string"]

ESCAPED = ("html", "htm", "xml", "xhtml", "svg")
KEPT_STRINGS = 100
"""Compiled templates from strings that are kept; of files Jinja keeps 400."""


def find_sync_request() -> Any:
    """The current request as templates see it: the face with plain values."""
    incoming = find_incoming("request")
    return SyncRequest.of(incoming) if isinstance(incoming, Request) else incoming


def csp_nonce() -> str:
    """The nonce that ``SecurityHeaders`` gave this request for its scripts and styles; ``""`` if it gave none."""
    context = find_context("csp_nonce")
    return context.scope.get("microweb.csp_nonce", "") if isinstance(context, Incoming) else ""


class Templates:
    """The templates of one app: its Jinja environment, and the variables its context processors add."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.loader = FileSystemLoader([])
        self.environment = Environment(
            loader=self.loader, autoescape=select_autoescape(ESCAPED, default_for_string=True)
        )
        self.environment.policies.update({"json.dumps_function": dump_json, "json.dumps_kwargs": {}})
        self.environment.globals.update(
            request=Proxy(find_sync_request),
            session=session,
            g=g,
            config=app.config,
            current_app=current_app,
            url_for=url_for,
            get_flashed_messages=get_flashed_messages,
            csp_nonce=csp_nonce,
        )
        self.compile = lru_cache(KEPT_STRINGS)(self.environment.from_string)
        """The template that a string is; compiling takes a hundred times as long as rendering."""
        self._processors: dict[str, list[Callable[[], dict[str, Any]]]] = {}
        """By the names of placements: those of a ``test_request_context`` are made for it alone."""
        self._auto_reload: bool | None = None
        """What the config said last."""
        self.refresh()

    def refresh(self) -> None:
        """Take over what was registered and configured since; the program's own changes to the environment stay.

        Raises:
            SetupError: a function for templates is an ``async def``.
        """
        self.compile.cache_clear()
        placements = self.app.assembly.placements
        reload = self.app.config["TEMPLATES_AUTO_RELOAD"]
        wanted = self.app.debug if reload is None else reload
        if wanted is not self._auto_reload:
            # Else it stays what the program may have made it: `app.jinja_env.auto_reload = True`.
            self._auto_reload = self.environment.auto_reload = wanted
        self.loader.searchpath = [
            os.path.join(placement.router.root_path, placement.router.template_folder)  # noqa: PTH118 - jinja2 wants text
            for placement in placements
            if placement.router.template_folder is not None
        ]
        for placement in placements:
            router = placement.router
            for table, named in (
                (self.environment.filters, router.template_filters),
                (self.environment.tests, router.template_tests),
                (self.environment.globals, router.template_globals),
            ):
                table.update({name: plain(registration) for name, registration in named.items()})
        self._processors = {
            placement.name: [plain(registration) for registration in placement.gather("context_processors")]
            for placement in placements
        }

    def context(self, given: dict[str, Any]) -> dict[str, Any]:
        """The variables of one rendering: what context processors add, under what was given."""
        incoming = find_context("render_template")
        target = incoming._target if isinstance(incoming, Incoming) and incoming.app is self.app else None
        processors = self._processors.get(target.placement.name if target is not None else "", ())
        if not processors:
            return given
        context: dict[str, Any] = {}
        for processor in processors:
            context.update(processor())
        context.update(given)
        return context

    def render(self, template: Template, given: dict[str, Any]) -> str:
        """The whole text of a template."""
        context = self.context(given)
        environment = self.environment
        if template.environment is environment and not environment.is_async and has_no_globals_of_its_own(template):
            # PERF(pages.template): as `Template.render`, which looks each global up through a chain of mappings.
            rendering = template.new_context({**environment.globals, **context}, shared=True)
            try:
                text = environment.concat(template.root_render_func(rendering))
            except Exception:  # noqa: BLE001 - raised again by Jinja, with the lines of the template in its traceback
                environment.handle_exception()
        else:
            text = template.render(context)
        self.tell(template, context)
        return text

    def stream(self, template: Template, given: dict[str, Any]) -> Iterator[str]:
        """The text of a template, piece by piece as it is rendered.

        The session is touched and the flashed messages are taken now, if the app has sessions: when the first piece
        is out, its cookie can no longer be sent.
        """
        incoming = find_context("stream_template")
        if isinstance(incoming, Incoming) and incoming.app.secret_key and not incoming._started:
            get_flashed_messages()
        context = self.context(given)

        def generate() -> Iterator[str]:
            yield from template.generate(context)
            self.tell(template, context)

        return generate()

    def tell(self, template: Template, context: dict[str, Any]) -> None:
        """Tell the observers of ``template_rendered``."""
        if self.app.observers.observes("template_rendered"):
            self.app.observers.notify_now("template_rendered", template=template, context=context)


def has_no_globals_of_its_own(template: Template) -> bool:
    """Whether a template was loaded without globals beside those of its environment."""
    names = template.globals
    return isinstance(names, ChainMap) and not names.maps[0] and len(names.maps) == 2


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """What the filter ``tojson`` puts into a page: the JSON that answers have."""
    dumped = json.dumps(value)
    if indent is not None:
        import msgspec

        dumped = msgspec.json.format(dumped, indent=indent)
    return dumped.decode()


def plain(registration: Registration) -> Callable[..., Any]:
    """A function that templates call.

    Raises:
        SetupError: it is an ``async def``; templates render synchronously.
    """
    check_synchronous(registration)
    return registration.function


def templates_of_current_app(name: str) -> Templates:
    """The templates of the current app."""
    templates: Templates = find_context(name).app.templates
    return templates


def render_template(template: str | list[str | Template], /, **context: Any) -> str:
    """The text of a template (of a list, the first that exists), with these variables.

    Raises:
        jinja2.TemplateNotFound: it is in none of the template folders.
        OutsideContextError: there is no current app.
    """
    templates = templates_of_current_app("render_template")
    return templates.render(templates.environment.get_or_select_template(template), context)


def render_template_string(source: str, **context: Any) -> str:
    """The text of a template given as a string; escaped like HTML.

    Raises: as ``render_template``.
    """
    templates = templates_of_current_app("render_template_string")
    return templates.render(templates.compile(source), context)


def stream_template(template: str | list[str | Template], /, **context: Any) -> Iterator[str]:
    """The text of a template, sent while it is rendered in the request's worker thread.

    Raises: as ``render_template``, when it is called; what fails later breaks the connection.
    """
    templates = templates_of_current_app("stream_template")
    return templates.stream(templates.environment.get_or_select_template(template), context)


def stream_template_string(source: str, **context: Any) -> Iterator[str]:
    """``stream_template`` for a template given as a string."""
    templates = templates_of_current_app("stream_template_string")
    return templates.stream(templates.compile(source), context)
