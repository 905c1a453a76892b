"""What an annotation may say about where a parameter comes from: ``Annotated[int, Query()]``.

The words, and where in an annotation they stand; ``parameterreading.py`` reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NewType, get_args

__all__ = [
    "Body",
    "Cookie",
    "Depends",
    "Form",
    "Header",
    "Query",
    "find_marker",
    "is_marker",
    "unwrap_alias",
]


class Source:
    """A place in the request; ``name`` is what the value is called there, if not as the parameter."""

    place = ""

    def __init__(self, name: str | None = None, *, forbid_unknown: bool = False) -> None:
        self.name = name
        self.forbid_unknown = forbid_unknown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})" if self.name else f"{type(self).__name__}()"


class Query(Source):
    """A query parameter, or a struct made of all of them.

    ``forbid_unknown`` refuses query parameters that the struct has no field for.

    >>> from typing import Annotated
    >>> from microweb import App, Query
    >>> app = App(__name__)
    >>> @app.get("/search")
    ... async def search(term: Annotated[str, Query("q")], page: int = 1):
    ...     return {"term": term, "page": page}
    """

    place = "query"


class Header(Source):
    """A request header; the parameter ``x_token`` reads ``X-Token``.

    >>> from typing import Annotated
    >>> from microweb import App, Header
    >>> app = App(__name__)
    >>> @app.get("/")
    ... async def home(x_token: Annotated[str, Header()], agent: Annotated[str, Header("User-Agent")] = ""):
    ...     return {"token": x_token, "agent": agent}
    """

    place = "header"


class Cookie(Source):
    """A cookie; the parameter has its name, unless another one is given.

    >>> from typing import Annotated
    >>> from microweb import App, Cookie
    >>> app = App(__name__)
    >>> @app.get("/")
    ... async def home(theme: Annotated[str, Cookie()] = "light"):
    ...     return f"The page is {theme}."
    """

    place = "cookie"


class Form(Source):
    """A field of the form in the body, an uploaded file, or a struct made of all fields.

    ``forbid_unknown`` refuses fields that the struct does not have.

    >>> from typing import Annotated
    >>> from microweb import App, Form, UploadFile
    >>> app = App(__name__)
    >>> @app.post("/photos")
    ... async def add_photo(title: Annotated[str, Form()], photo: Annotated[UploadFile, Form()]):
    ...     return {"title": title, "bytes": photo.size}
    """

    place = "form"


class Body(Source):
    """The JSON body, or with a name the value under that key of the object in it.

    ``forbid_unknown`` refuses keys that the type has no field for, on every level.

    >>> from typing import Annotated
    >>> from microweb import App, Body
    >>> app = App(__name__)
    >>> @app.post("/sum")
    ... async def add_up(numbers: Annotated[list[int], Body()]):
    ...     return {"sum": sum(numbers)}
    """

    place = "body"


class Depends:
    """The result of another function, called first; it may take what a view takes, more dependencies too.

    A generator gives what it yields and goes on when the answer is complete; an exception of the view is
    raised at its ``yield``. Within one request a dependency is called once, unless ``use_cache`` is false.
    Without a function the annotated class itself is called.

    >>> from typing import Annotated
    >>> from microweb import App, Depends, Request
    >>> app = App(__name__)
    >>> async def find_user(request: Request):
    ...     return request.headers.get("x-user", "nobody")
    >>> @app.get("/")
    ... async def home(user: Annotated[str, Depends(find_user)]):
    ...     return f"Hello, {user}!"
    """

    def __init__(self, function: Callable[..., Any] | None = None, *, use_cache: bool = True) -> None:
        self.function = function
        self.use_cache = use_cache

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", repr(self.function)) if self.function is not None else ""
        return f"Depends({name})"


def find_marker(hint: Any) -> Any:
    """The first of our markers in an annotation, on whatever level."""
    hint = unwrap_alias(hint)
    if isinstance(hint, NewType):
        return find_marker(hint.__supertype__)
    found = [each for each in getattr(hint, "__metadata__", ()) if is_marker(each)]
    inner = (marker for each in get_args(hint) if (marker := find_marker(each)) is not None)
    return found[0] if found else next(inner, None)


def is_marker(value: Any) -> bool:
    """Whether it is ``Query()`` or its like, or the class alone."""
    return isinstance(value, Source | Depends) or (isinstance(value, type) and issubclass(value, Source | Depends))


def unwrap_alias(hint: Any) -> Any:
    """What a name made by ``type Name = ...`` stands for."""
    while type(hint).__name__ == "TypeAliasType":
        hint = hint.__value__
    return hint
