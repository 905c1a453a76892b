"""What views under decorators are given: a decorator may provide what nothing else does."""

from functools import wraps

import pytest

from microweb import App, SetupError, session
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def text_of(app: App, path: str, **options) -> str:
    async with Client(app, **options) as client:
        return (await client.get(path)).text


def provide_user(view):
    @wraps(view)
    def decorated(*args, **values):
        return view(session.get("user", "nobody"), *args, **values)

    return decorated


async def test_a_decorator_provides_what_the_view_names_first():
    app = App(__name__, secret_key="the secret of these tests")

    @app.get("/def/<int:book>")
    @provide_user
    def show(user, book):
        return f"{user} reads {book}"

    @app.get("/async/<int:book>")
    @provide_user
    async def show_too(user, book, page: int = 1):
        return f"{user} reads {book} from {page}"

    assert await text_of(app, "/def/3") == "nobody reads 3"
    assert await text_of(app, "/async/3?page=7") == "nobody reads 3 from 7"


@pytest.mark.parametrize("names_it", [True, False])
async def test_a_decorator_works_out_what_it_provides_from_a_path_variable(names_it):
    app = App(__name__)

    def find_book(view):
        def by_name(number, **values):
            return view(book=f"book {number}", **values)

        def by_values(**values):
            return view(book=f"book {values.pop('number')}", **values)

        return wraps(view)(by_name if names_it else by_values)

    @app.get("/<int:number>/<part>")
    @find_book
    def show(book, part):
        return f"{part} of {book}"

    assert await text_of(app, "/3/cover") == "cover of book 3"


async def test_a_decorator_is_given_a_variable_that_only_it_names():
    app = App(__name__)

    def check(view):
        @wraps(view)
        def decorated(number):
            return view() if number < 10 else "too many"

        return decorated

    @app.get("/<int:number>")
    @check
    def show():
        return "shown"

    assert await text_of(app, "/3") == "shown"
    assert await text_of(app, "/30") == "too many"


async def test_under_a_decorator_too_a_view_may_leave_variables_out():
    app = App(__name__)

    @app.get("/<int:number>")
    @lambda view: wraps(view)(lambda *args, **values: view(*args, **values))
    def show():
        return "shown"

    assert await text_of(app, "/3") == "shown"


async def test_an_annotated_parameter_is_not_left_to_the_decorator():
    app = App(__name__)

    @app.get("/")
    @provide_user
    def show(user: object):
        return "never"

    with pytest.raises(SetupError, match="'user' is annotated object"):
        await text_of(app, "/")


async def test_a_path_variable_that_is_positional_only_stops_the_start():
    app = App(__name__)

    @app.get("/<int:number>")
    def show(number, /):
        return "never"

    with pytest.raises(SetupError, match="'number' is positional-only; leave out the slash"):
        await text_of(app, "/3")


async def test_a_path_variable_is_given_by_name_where_it_has_to_be():
    app = App(__name__)

    def shouting(view):
        @wraps(view)
        async def decorated(**values):
            return (await view(**values)).upper()

        return decorated

    @app.get("/wrapped/<name>")
    @shouting
    async def wrapped(name):
        return f"hello {name}"

    @app.get("/keyword/<name>")
    async def keyword(*, name):
        return f"hello {name}"

    @app.get("/collected/<name>")
    async def collected(**values):
        return f"hello {values}"

    assert await text_of(app, "/wrapped/ada") == "HELLO ADA"
    assert await text_of(app, "/keyword/ada") == "hello ada"
    assert await text_of(app, "/collected/ada") == "hello {'name': 'ada'}"
