"""``microweb openapi``."""

import json

APP = """
    from microweb import App
    from microweb.openapi import OpenAPI

    app = App(__name__)
    OpenAPI(app, title="Hüte", version="1")

    @app.get("/hats")
    async def hats() -> list[str]:
        raise AssertionError("nothing is called")
"""


def test_the_document_is_printed_as_json(project):
    project.write("app.py", APP)

    result = project.run("openapi", "--root-path", "/v1")
    document = json.loads(result.stdout)

    assert result.exit_code == 0
    assert document["info"]["title"] == "Hüte"
    assert document["servers"] == [{"url": "/v1"}]
    assert list(document["paths"]) == ["/hats"]
    assert "Hüte" in result.stdout


def test_an_app_that_describes_nothing_is_told_what_to_add(project):
    project.write("app.py", "from microweb import App\napp = App(__name__)\n")

    result = project.run("openapi")

    assert result.exit_code == 1
    assert "add OpenAPI(app, title=..., version=...)" in result.stderr


def test_a_mistake_in_the_description_is_one_sentence(project):
    project.write(
        "app.py",
        APP.replace('@app.get("/hats")', '@app.get("/hats", openapi=describe(security="key"))').replace(
            "import OpenAPI", "import OpenAPI, describe"
        ),
    )

    result = project.run("openapi")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: OpenAPI(security_schemes=...) has no 'key', but none; ")
