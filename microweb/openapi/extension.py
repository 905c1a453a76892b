"""What a program uses: ``OpenAPI(app, title=..., version=...)`` serves the document and a page to read it.

Both are routes like any other. The document is made when it is first asked for, and kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from microweb import json
from microweb.app import App
from microweb.errors import SetupError
from microweb.openapi.descriptions import Requirements, Security, read_requirements
from microweb.openapi.document import make_document
from microweb.openapi.explorer import draw_page
from microweb.pagepolicy import make_policy
from microweb.registrations import find_place
from microweb.requests import Request
from microweb.responses import Response

__all__ = ["OpenAPI"]

MOST_KEPT = 16
"""Documents kept at most, one for each root path that the server, or a trusted proxy, named."""


class OpenAPI:
    """The description of an app: served at ``url`` for programs and at ``docs_url`` for people; None serves none.

    ``security_schemes`` are Security Scheme Objects by name, ``security`` those that every operation needs unless
    ``describe`` says otherwise, ``responses`` answers of every operation, as for ``describe``: those of a middleware,
    for instance. ``tags`` are what the names of routers, and other tags, mean. ``info`` adds members to the Info
    Object (``license``, ``contact``). ``servers`` defaults to wherever the app is served.

    >>> from microweb import App
    >>> from microweb.openapi import OpenAPI
    >>> app = App(__name__)
    >>> @app.get("/hats/<int:size>")
    ... async def hats(size: int, colour: str = "red") -> list[str]:
    ...     '''All hats of a size.'''
    ...     return [colour]
    >>> api = OpenAPI(app, title="Hats", version="1.0")
    >>> api.make_document(app)["paths"]["/hats/{size}"]["get"]["summary"]
    'All hats of a size.'

    Raises:
        SetupError: title or version is empty, or tags or security are a shape that they cannot have.
        FrozenError: the app has started to serve.
    """

    def __init__(
        self,
        app: App | None = None,
        *,
        title: str,
        version: str,
        description: str = "",
        info: Mapping[str, Any] | None = None,
        servers: Iterable[str | Mapping[str, Any]] = (),
        tags: Mapping[str, str] | None = None,
        security_schemes: Mapping[str, dict[str, Any]] | None = None,
        security: Security = (),
        responses: Mapping[int, Any] | None = None,
        url: str | None = "/openapi.json",
        docs_url: str | None = "/docs",
    ) -> None:
        if not title or not version:
            raise SetupError(f"OpenAPI(title=..., version=...) needs texts for both ({find_place()})")
        self.info: dict[str, Any] = {"title": title, "version": version}
        if description:
            self.info["description"] = description
        self.info.update(info or {})
        self.servers = [{"url": each} if isinstance(each, str) else dict(each) for each in servers]
        given: object = tags or {}
        if not isinstance(given, Mapping):
            raise SetupError(f"OpenAPI(tags=...) is a dict of what each name means, not {tags!r} ({find_place()})")
        self.tags: dict[str, str] = dict(given)
        self.security_schemes = dict(security_schemes or {})
        self.security: Requirements = read_requirements(security)
        self.responses = dict(responses or {})
        self.url = url
        self.docs_url = docs_url
        if docs_url is not None and url is None:
            raise SetupError(f"the page at docs_url reads the document, so there must be a url too ({find_place()})")
        if app is not None:
            self.init_app(app)

    def init_app(self, app: App) -> None:
        """Add the routes to an app.

        Raises:
            FrozenError: the app has started to serve.
        """
        app.extensions["openapi"] = self
        kept: dict[str, bytes] = {}

        async def openapi(request: Request) -> Response:
            root = request.root_path
            body = kept.get(root)
            if body is None:
                body = json.dumps(self.make_document(app, root_path=root))
                if len(kept) < MOST_KEPT:
                    kept[root] = body
            response = Response(body, content_type="application/json")
            response.headers["cache-control"] = "no-cache"
            response.add_etag()
            return response.make_conditional(request)

        async def openapi_docs(request: Request) -> Response:
            nonce = secrets.token_urlsafe(16)
            page = draw_page(str(self.info["title"]), request.root_path + str(self.url), nonce)
            response = Response(page, content_type="text/html; charset=utf-8")
            response.headers["content-security-policy"] = make_policy(nonce)
            response.headers["cache-control"] = "no-store"
            response.headers["referrer-policy"] = "no-referrer"
            response.headers["x-content-type-options"] = "nosniff"
            return response

        if self.url is not None:
            app.add_route(self.url, openapi, openapi=False)
        if self.docs_url is not None:
            app.add_route(self.docs_url, openapi_docs, openapi=False)

    def make_document(self, app: App, *, root_path: str = "") -> dict[str, Any]:
        """The document, as a dict, of what is registered so far; ``root_path`` is where the app is served.

        Raises:
            SetupError: the routes cannot be put together, or a security scheme is named that is none.
        """
        return make_document(
            app,
            info=self.info,
            servers=self.servers or [{"url": root_path or "/"}],
            tags=self.tags,
            security_schemes=self.security_schemes,
            security=self.security,
            responses=self.responses,
        )
