import pytest

APP = """
    from microweb import App, Router, MethodView

    app = App(__name__, static_folder=None)
    blog = Router("blog", prefix="/blog")
    api = App("api", static_folder=None)

    @app.get("/")
    async def home(): ...

    @app.route("/hats", methods=["GET", "POST"])
    def hats(): ...

    @blog.delete("/<int:post>")
    def drop(post): ...

    @app.websocket("/chat")
    async def chat(): ...

    @api.get("/hats", host="api.example.org")
    async def all_hats(): ...

    async def foreign(scope, receive, send): ...

    app.mount("", blog)
    app.mount("/api", api, name="api")
    app.mount("/other", foreign)
"""
APP = APP.replace(", MethodView", "")

TABLE = """\
Methods    Rule                        Endpoint      Runs         Router
---------  --------------------------  ------------  -----------  ------
GET        /                           home          async        app
mount      /api/...                    api           <App api>    app
DELETE     /blog/<int:post>            blog.drop     thread       blog
WEBSOCKET  /chat                       chat          async        app
GET POST   /hats                       hats          thread       app
mount      /other/...                                app.foreign  app
GET        //api.example.org/api/hats  api.all_hats  async        api
"""


def test_the_table_has_every_route_with_websockets_and_mounts(project):
    project.write("app.py", APP)

    lines = project.run("routes", "--sort", "registered").output.splitlines()

    assert sorted(lines) == sorted(TABLE.splitlines())


@pytest.mark.parametrize(
    ("column", "first"),
    [
        ("rule", "GET        /   "),
        ("methods", "DELETE  "),
        ("endpoint", "mount      /other/..."),
        ("runs", "mount      /api/..."),
        ("router", "GET        //api"),
    ],
)
def test_the_table_is_sorted_by_a_column(project, column, first):
    project.write("app.py", APP)

    lines = project.run("routes", "-s", column).output.splitlines()

    assert lines[2].startswith(first)


def test_an_app_without_routes_says_so(project):
    project.write("app.py", "from microweb import App\napp = App('x', static_folder=None)")

    assert project.run("routes").output == "The app has no routes.\n"
