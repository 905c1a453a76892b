"""Views as classes: one method for each verb."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ClassVar

from microweb.binding import is_async
from microweb.proxies import find_incoming

__all__ = ["MethodView"]

VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")


class MethodView:
    """A view with one method for each HTTP verb, ``def`` or ``async def``, but all of one kind.

    >>> from microweb import App, MethodView
    >>> class Entry(MethodView):
    ...     async def get(self, id: int):
    ...         return {"id": id}
    ...     async def delete(self, id: int):
    ...         return "", 204
    >>> app = App(__name__)
    >>> app.add_route("/entry/<int:id>", Entry.as_view("entry"))
    """

    methods: ClassVar[frozenset[str]] = frozenset()
    """The verbs that the class has methods for."""

    decorators: ClassVar[list[Callable[..., Any]]] = []
    """Applied to the view that ``as_view`` makes, the first one innermost."""

    init_every_request: ClassVar[bool] = True
    """Whether each request gets an instance of its own."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "methods" not in cls.__dict__:
            cls.methods = frozenset(verb.upper() for verb in VERBS if callable(getattr(cls, verb, None)))

    @classmethod
    def as_view(cls, name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """A view function called ``name``; ``args`` and ``kwargs`` go to the class.

        Raises:
            TypeError: it has no methods for verbs, or some are ``async def`` and some are not.
        """
        handlers = {verb: getattr(cls, verb.lower()) for verb in cls.methods}
        kinds = {is_async(handler) for handler in handlers.values()}
        if len(kinds) != 1:
            problem = "has no method for any verb" if not kinds else "mixes async def and def methods"
            raise TypeError(f"{cls.__name__} {problem}; give it get, post, ... of one kind")
        kept = None if cls.init_every_request else cls(*args, **kwargs)

        def find_method() -> Callable[..., Any]:
            # The request is not a parameter, so that a decorator only sees what the path gives.
            verb = find_incoming("a MethodView").scope["method"].lower()
            instance = kept if kept is not None else cls(*args, **kwargs)
            method = getattr(instance, verb, None) or (instance.get if verb == "head" else None)  # type: ignore[attr-defined]  # HEAD comes only with GET
            assert method is not None
            found: Callable[..., Any] = method
            return found

        view: Callable[..., Any]
        if kinds == {True}:

            async def view_async(**values: Any) -> Any:
                answer: Awaitable[Any] = find_method()(**values)
                return await answer

            view = view_async
        else:

            def view_sync(**values: Any) -> Any:
                return find_method()(**values)

            view = view_sync
        view.__name__, view.__qualname__, view.__doc__, view.__module__ = name, name, cls.__doc__, cls.__module__
        view.__dict__.update(methods=sorted(cls.methods), view_class=cls)  # add_route reads the methods
        for decorate in cls.decorators:
            view = wraps(view)(decorate(view))
        return view
