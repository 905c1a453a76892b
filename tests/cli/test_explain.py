APP = """
    from microweb import App

    app = App(__name__)

    @app.before_request
    async def check(): ...

    @app.get("/hat/<int:size>")
    def show(size): ...

    @app.get("/", host="admin.example.org")
    def admin(): ...
"""


def test_a_request_is_explained_layer_by_layer(project):
    project.write("app.py", APP)

    result = project.run("explain", "get", "/hat/7")

    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["value", "size", "=", "7"] in lines
    assert ["1", "before_request", "app.check", "on", "the", "loop", "app", "app.py:6"] in lines
    assert ["2", "view", "app.show", "in", "a", "thread", "app", "app.py:9"] in lines


def test_the_host_can_be_given(project):
    project.write("app.py", APP)

    assert "app.admin" in project.run("explain", "GET", "/", "--host", "admin.example.org").output
    assert "404" in project.run("explain", "GET", "/").output


def test_a_path_without_a_slash_is_a_usage_error(project):
    project.write("app.py", APP)

    result = project.run("explain", "GET", "hat")

    assert result.exit_code == 2
    assert "a path begins with a slash, not like 'hat'" in result.output
