"""``Resource``: a ``MethodView`` whose methods return data.

``Api`` registers it; the representations are found on the route, so a class knows no ``Api``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from microweb import App, MethodView, request
from microweb.ext.rest.outputs import JSON, Outputs, is_ready, outputs_of, represent, unpack

__all__ = ["Resource"]


class Resource(MethodView):
    """A kind of thing with one method for each verb, ``def`` or ``async def``, that takes what a view takes.

    A method returns data, ``(data, status)``, ``(data, status, headers)`` or a response. Data is written in the
    media type that the client accepts, JSON by default.

    >>> from microweb import App
    >>> from microweb.ext.rest import Api, Resource
    >>> app = App(__name__)
    >>> api = Api(app)
    >>> @api.resource("/todos/<int:id>")
    ... class Todo(Resource):
    ...     async def get(self, id: int):
    ...         return {"id": id}
    ...     async def delete(self, id: int):
    ...         return "", 204
    """

    representations: ClassVar[Outputs | None] = None
    """Media types of this class alone, in place of its ``Api``'s."""

    @classmethod
    def make_answer(cls, value: Any) -> Any:
        """The response that carries the data."""
        if is_ready(value):
            return value
        route = request.route
        api = None if route is None else route.options.get("api")
        if cls.representations is not None:
            return represent(*unpack(value), cls.representations, next(iter(cls.representations)))
        if api is not None:
            return represent(*unpack(value), api.find_outputs(request.app), api.default_mediatype)
        return represent(*unpack(value), outputs_of([request.app]), JSON)

    @classmethod
    def list_media_types(cls, app: App, options: Mapping[str, Any]) -> tuple[list[str], str | None]:
        """What its data can be written in, and what is sent to a client that accepts none of it; for documents.

        ``options`` are those of the route that it is served at.
        """
        api = options.get("api")
        if cls.representations is not None:
            return list(cls.representations), next(iter(cls.representations))
        if api is not None:
            return list(api.gather_outputs(app)), api.default_mediatype
        return list(outputs_of([app])), JSON
