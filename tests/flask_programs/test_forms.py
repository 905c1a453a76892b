"""Forms: fields, an upload, and errors shown again in the page."""

import pytest

from microweb import App, render_template_string, request, secure_filename
from microweb.testing import Client

pytestmark = pytest.mark.anyio

PAGE = "<form method=post><input name=name value='{{ name }}'>{{ error }}</form>"


async def test_a_form_is_validated_and_an_upload_is_saved(tmp_path):
    app = App(__name__)

    @app.route("/", methods=["GET", "POST"])
    def sign():
        name, error = "", ""
        if request.method == "POST":
            name = request.form["name"]
            if len(name) > 1:
                return f"Signed by {name}"
            error = "a name has two letters or more"
        return render_template_string(PAGE, name=name, error=error), 422 if error else 200

    @app.route("/upload", methods=["POST"])
    def upload():
        file = request.files["file"]
        file.save(tmp_path / secure_filename(file.filename))
        return file.filename

    async with Client(app) as client:
        wrong = await client.post("/", data={"name": "<"})
        assert (wrong.status_code, "&lt;" in wrong.text, "two letters" in wrong.text) == (422, True, True)
        assert (await client.post("/", data={"name": "Ada"})).text == "Signed by Ada"
        assert (await client.post("/", data={"other": "x"})).status_code == 400
        await client.post("/upload", files={"file": ("../a b.txt", b"content")})

    assert (tmp_path / "a_b.txt").read_bytes() == b"content"
