"""Views as classes: one method for each verb.

``MethodView.as_view`` makes one function of each method, and ``add_route`` one route of each function: a verb has
its own signature, plan and place in the API's documents. ``microweb.ext.rest`` builds its resources on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial, wraps
from typing import Any, ClassVar

from microweb.callables import describe, find_hints, is_async, unwrapped
from microweb.proxies import find_incoming

__all__ = ["MethodView"]

VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")

View = Callable[..., Any]
Decorator = Callable[[View], View]


class MethodView:
    """A view with one method for each HTTP verb, ``def`` or ``async def``; each takes what a view takes.

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

    decorators: ClassVar[list[Decorator]] = []
    """Applied to each view that ``as_view`` makes, the first one innermost; they see answers."""

    method_decorators: ClassVar[list[Decorator] | dict[str, list[Decorator]]] = []
    """Applied to each method, or by verb (``{"get": [...]}``), the first one innermost; they see what it returns."""

    init_every_request: ClassVar[bool] = True
    """Whether each request gets an instance of its own."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "methods" not in cls.__dict__:
            # With those that a class above lists beside the usual ones, such as PROPFIND.
            named = {*VERBS, *(method.lower() for method in cls.methods or ())}
            cls.methods = frozenset(verb.upper() for verb in named if callable(getattr(cls, verb, None)))

    @classmethod
    def make_answer(cls, value: Any) -> Any:
        """What the view returns when a method returned ``value``: the same.

        A class that gives all its answers another form returns a ``Response`` here. ``value`` has passed the filter
        of the return annotation.
        """
        return value

    @classmethod
    def as_view(cls, name: str, *args: Any, **kwargs: Any) -> ClassView:
        """A view called ``name``, for ``add_route``; ``args`` and ``kwargs`` go to the class.

        Raises:
            TypeError: it has no methods for verbs.
        """
        if not cls.methods:
            raise TypeError(f"{cls.__name__} has no method for any verb; give it get, post, ...")
        make: Callable[[], Any] = partial(cls, *args, **kwargs)
        if not cls.init_every_request:
            make = partial(keep, make())
        verbs = {verb: make_verb(cls, verb, make) for verb in sorted(cls.methods)}
        kind = AsyncClassView if all(map(is_async, verbs.values())) else ClassView
        return kind(cls, name, verbs)


class ClassView:
    """All verbs of a class in one callable, which asks the current request for its method.

    ``add_route`` makes a route of each one in ``verbs``. The whole is called where a decorator was put around it.
    """

    def __init__(self, kind: type[MethodView], name: str, verbs: Mapping[str, View]) -> None:
        self.__name__ = self.__qualname__ = name
        self.__module__ = kind.__module__
        self.__doc__ = kind.__doc__
        self.view_class = kind
        self.methods = sorted(verbs)
        self._verbs = verbs

    @property
    def verbs(self) -> Mapping[str, View]:
        """The view of each method, by its name in upper case."""
        return self._verbs

    def find_verb(self) -> View:
        """The view for the current request."""
        method = find_incoming("a MethodView").scope["method"]
        return self._verbs.get(method) or self._verbs["GET"]  # A HEAD that comes with GET.

    def __call__(self, **values: Any) -> Any:
        return self.find_verb()(**values)


class AsyncClassView(ClassView):
    """A ``ClassView`` all of whose verbs run on the event loop."""

    async def __call__(self, **values: Any) -> Any:
        answer = self.find_verb()(**values)
        return await answer if hasattr(answer, "__await__") else answer


def make_verb(kind: type[MethodView], verb: str, make: Callable[[], Any]) -> View:
    """The view that a method is, decorated."""
    name = verb.lower()
    method = getattr(kind, name)
    is_free = isinstance(inspect.getattr_static(kind, name), staticmethod | classmethod)
    parameters = list(inspect.signature(method).parameters.values())[0 if is_free else 1 :]
    names = {parameter.name for parameter in parameters}
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)

    def call(args: tuple[Any, ...], values: dict[str, Any]) -> Any:
        if not takes_all and not names.issuperset(values):
            # Decorators get every path variable; the method may leave some out.
            values = {name: value for name, value in values.items() if name in names}
        return getattr(make(), name)(*args, **values)

    view: View
    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def run_async(*args: Any, **values: Any) -> Any:
            return await call(args, values)

        view = run_async
    else:

        @wraps(method)
        def run(*args: Any, **values: Any) -> Any:
            return call(args, values)

        view = run
    view.__dict__["__signature__"] = inspect.Signature(parameters)
    given = kind.method_decorators
    view = decorated(view, given.get(name, ()) if isinstance(given, dict) else given)
    if inspect.getattr_static(kind, "make_answer") is not inspect.getattr_static(MethodView, "make_answer"):
        view = answering(view, kind.make_answer)
    return decorated(view, kind.decorators)


def decorated(view: View, decorators: Iterable[Decorator]) -> View:
    """``view`` with decorators around it; they may provide parameters that have neither annotation nor default."""
    for decorate in decorators:
        outer = decorate(view)
        if outer is view:
            continue  # It only left a mark.
        signature = loosened(inspect.signature(view))
        view = wraps(view)(outer if inspect.isfunction(outer) else calling(outer))
        view.__dict__["__signature__"] = signature
    return view


def calling(callable: View) -> View:
    """A function in place of an object that can be called, which may take no attributes."""
    return lambda *args, **values: callable(*args, **values)


def loosened(signature: inspect.Signature) -> inspect.Signature:
    """``signature`` with ``**values`` in place of what nothing is known of but the name."""
    kept = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.annotation is not parameter.empty
        or parameter.default is not parameter.empty
        or parameter.name == "request"
    ]
    kept = [parameter for parameter in kept if parameter.kind is not parameter.VAR_KEYWORD]
    return inspect.Signature([*kept, inspect.Parameter("values", inspect.Parameter.VAR_KEYWORD)])


def answering(view: View, make_answer: Callable[[Any], Any]) -> View:
    """``view`` with its value filtered by its return annotation and passed through ``make_answer``."""
    is_annotated = "return" in getattr(unwrapped(view), "__annotations__", ())

    @cache
    def find_filter(validates: bool) -> Callable[[Any], Any]:
        # Made with the first answer: the classes that an annotation names may be written below the view.
        from microweb.filtering import make_filter

        source = f"view {describe(view)}"
        return make_filter(find_hints(view).get("return"), source, validates=validates) or keep

    def finish(value: Any) -> Any:
        if is_annotated:
            value = find_filter(find_incoming("a MethodView").app.debug)(value)
        return make_answer(value)

    @wraps(view)
    async def answer_async(*args: Any, **values: Any) -> Any:
        value = view(*args, **values)
        return finish(await value if hasattr(value, "__await__") else value)

    @wraps(view)
    def answer(*args: Any, **values: Any) -> Any:
        return finish(view(*args, **values))

    return answer_async if is_async(view) else answer


def keep(value: Any) -> Any:
    """The same value: the filter of a view whose annotation names no struct."""
    return value
