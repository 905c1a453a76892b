"""Forms, files and parts as views read them, through the app."""

import logging
from pathlib import Path
from urllib.parse import parse_qsl

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microweb import App, Request, SyncRequest
from microweb.errors import BadRequest
from microweb.formreading import FormPart, PartStream
from microweb.forms import Part
from microweb.testing import Client

pytestmark = pytest.mark.anyio

FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": "multipart/form-data; boundary=xyz"}
FIELD = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
FILE = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\nContent-Type: image/png\r\n\r\n'
END = b"--xyz--\r\n"


async def chunked(body, size):
    for place in range(0, len(body), size):
        yield body[place : place + size]


def form_app(**options):
    app = App(__name__)

    @app.route("/", methods=["GET", "POST"], **options)
    async def show(request: Request):
        fields, files = await request.form(), await request.files()
        return {
            "fields": list(fields.items(multi=True)),
            "files": [(name, file.filename, file.size) for name, file in files.items(multi=True)],
        }

    return app


async def post(app, body, headers=MULTIPART, **options):
    async with Client(app, **options) as client:
        return await client.post("/", content=body, headers=headers)


# In coroutine views -------------------------------------------------------------------------------


async def test_an_urlencoded_form_is_read():
    answer = await post(form_app(), b"a=1&a=2&b=%C3%A9+x", FORM)

    assert answer.json() == {"fields": [["a", "1"], ["a", "2"], ["b", "é x"]], "files": []}


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_form_may_come_in_any_chunks(size):
    urlencoded = await post(form_app(), chunked(b"a=1&b=%C3%A9", size), FORM)
    multipart = await post(form_app(), chunked(FIELD + b"1\r\n" + FILE + b"content\r\n" + END, size))

    assert urlencoded.json()["fields"] == [["a", "1"], ["b", "é"]]
    assert multipart.json() == {"fields": [["a", "1"]], "files": [["f", "f.bin", 7]]}


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from([b"a", b"=", b"&", b"+", b"%", b"%41", b"%C3", b"%a9", b"\xc3\xa9", b"\xff", b";", b"\0"])
    ),
    st.integers(1, 9),
)
def test_a_form_in_any_chunks_is_what_parse_qsl_gives(pieces, size):
    body = b"".join(pieces)
    expected = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")

    answer = anyio.run(post, form_app(), chunked(body, size), FORM)

    assert group(answer.json()["fields"]) == group(expected)


def group(pairs):
    return {name: [value for each, value in pairs if each == name] for name, _ in pairs}


async def test_what_httpx_sends_is_read():
    async with Client(form_app()) as client:
        answer = await client.post("/", data={"a": ["1", "2"]}, files={"f": ("naïve.txt", b"content", "text/plain")})

    assert answer.json() == {"fields": [["a", "1"], ["a", "2"]], "files": [["f", "naïve.txt", 7]]}


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded; charset=utf-8", "APPLICATION/X-WWW-FORM-URLENCODED"],
)
async def test_parameters_and_case_of_the_content_type_do_not_matter(content_type):
    answer = await post(form_app(), b"a=1", {"content-type": content_type})

    assert answer.json()["fields"] == [["a", "1"]]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}, {"content-type": "text/plain"}])
async def test_a_request_without_a_body_has_an_empty_form_whatever_its_content_type(method, headers):
    async with Client(form_app()) as client:
        answer = await client.request(method, "/", headers=headers)

    assert answer.json() == {"fields": [], "files": []}


async def test_the_values_of_a_request_without_a_body_are_those_of_its_query():
    app = App(__name__)

    @app.get("/")
    def show(request: SyncRequest):
        return request.values.to_dict()

    async with Client(app) as client:
        answer = await client.get("/?a=1", headers={"content-type": "application/json"})

    assert answer.json() == {"a": "1"}


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}, {"content-type": "multipart/mixed"}])
async def test_a_body_that_is_no_form_is_a_415(headers):
    answer = await post(form_app(), b"{}", headers)

    assert answer.status_code == 415
    assert "Expected a form" in answer.json()["detail"]


async def test_a_missing_field_is_a_400_that_names_it():
    app = App(__name__)

    @app.post("/")
    async def show(request: Request):
        return (await request.form())["name"]

    answer = await post(app, b"a=1", FORM)

    assert answer.status_code == 400
    assert "'name'" in answer.json()["detail"]


async def test_the_form_is_read_once_and_kept():
    app = App(__name__)

    @app.post("/")
    async def show(request: Request):
        return {
            "same": await request.form() is await request.form(),
            "files": await request.files() is await request.files(),
        }

    for body, headers in ((b"a=1", FORM), (FIELD + b"1\r\n" + END, MULTIPART)):
        assert (await post(app, body, headers)).json() == {"same": True, "files": True}


async def test_a_body_that_was_read_before_can_still_be_read_as_a_form():
    app = App(__name__)

    @app.post("/")
    async def show(request: Request):
        body = await request.body()
        return {"bytes": len(body), "fields": (await request.form()).to_dict()}

    body = FIELD + b"1\r\n" + END

    assert (await post(app, body)).json() == {"bytes": len(body), "fields": {"a": "1"}}


async def test_two_tasks_may_ask_for_the_form_at_once():
    app = App(__name__)

    @app.post("/")
    async def show(request: Request):
        found = []

        async def ask():
            found.append(await request.form())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
        return {"same": found[0] is found[1]}

    assert (await post(app, chunked(FIELD + b"1\r\n" + END, 10))).json() == {"same": True}


async def test_all_who_ask_for_a_broken_form_get_the_same_400():
    app = App(__name__)

    @app.post("/")
    async def show(request: Request):
        found = []

        async def ask():
            try:
                await request.form()
            except Exception as error:
                found.append((type(error).__name__, str(error)))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
        await ask()
        return {"answers": sorted(set(found)), "count": len(found)}

    answer = (await post(app, chunked(FIELD + b"1\r\n--xyz", 10))).json()

    assert answer["count"] == 3
    assert len(answer["answers"]) == 1


# Cut and broken -----------------------------------------------------------------------------------


async def test_a_cut_form_is_a_400_wherever_it_is_cut():
    app, body = form_app(), FIELD + b"1\r\n" + FILE + b"content\r\n" + END
    async with Client(app) as client:
        statuses = {
            (await client.post("/", content=body[:place], headers=MULTIPART)).status_code
            for place in range(0, len(body) - 2, 3)
        }

    assert statuses == {400}


async def test_a_form_without_boundary_is_a_400():
    answer = await post(form_app(), END, {"content-type": "multipart/form-data"})

    assert answer.status_code == 400


async def test_a_client_that_leaves_inside_a_form_is_no_error(caplog):
    sent_half = anyio.Event()

    async def half():
        yield FIELD + b"half"
        sent_half.set()
        await anyio.sleep_forever()

    async with (
        Client(form_app()) as client,
        client.exchange("POST", "/", headers=MULTIPART, content=half()) as sent,
    ):
        await sent_half.wait()
        sent.disconnect()
        await sent.wait_ended()

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("MAX_FORM_PARTS", 1, 413),
        ("MAX_FORM_FILES", 0, 413),
        ("MAX_FORM_MEMORY_SIZE", 4, 413),
        ("MAX_CONTENT_LENGTH", 100, 413),
        ("MAX_PART_HEADERS", 1, 400),
        ("MAX_PART_HEADER_SIZE", 20, 400),
        ("MAX_BOUNDARY_SIZE", 2, 400),
    ],
)
async def test_each_limit_is_a_key_and_an_option_of_the_route(key, value, status):
    body = FIELD + b"12345\r\n" + FILE + b"content\r\n" + END
    by_config, by_route = form_app(), form_app(**{key.lower(): value})
    by_config.config[key] = value

    assert (await post(form_app(), body)).status_code == 200
    for app in (by_config, by_route):
        answer = await post(app, body)
        assert (answer.status_code, key in answer.json()["detail"]) == (status, True)


async def test_a_route_may_also_allow_more():
    app = form_app(max_form_parts=2, max_form_memory_size=None)
    app.config["MAX_FORM_PARTS"] = 1
    app.config["MAX_FORM_MEMORY_SIZE"] = 1

    assert (await post(app, b"a=100&b=200", FORM)).status_code == 200
    assert (await post(app, b"a=1&b=2&c=3", FORM)).status_code == 413


async def test_a_limit_of_a_route_that_is_no_number_is_an_error_at_the_start():
    from microweb import SetupError

    app = form_app(max_form_parts="many")

    with pytest.raises(SetupError, match="max_form_parts.*test_formreading.py"):
        await post(app, b"", FORM)


# Files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 100_000, 1_500_000])
async def test_a_file_is_read_back_whether_it_went_to_disk_or_not(size):
    app, content = App(__name__), bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    app.config["UPLOAD_SPOOL_SIZE"] = 1000
    seen = {}

    @app.post("/")
    async def receive(request: Request):
        photo = (await request.files())["photo"]
        seen.update(
            whole=await photo.read(),
            rest=await photo.read(),
            chunks=b"".join([chunk async for chunk in photo.chunks(1000)]),
            facts=(photo.size, photo.filename, photo.content_type, photo.mimetype, bool(photo)),
        )
        await photo.seek(5)
        seen["from 5"] = await photo.read(3)
        return "ok"

    async with Client(app) as client:
        await client.post("/", files={"photo": ("p.png", content, "image/png; x=y")})

    assert seen["whole"] == seen["chunks"] == content
    assert (seen["rest"], seen["from 5"]) == (b"", content[5:8])
    assert seen["facts"] == (size, "p.png", "image/png; x=y", "image/png", True)


@pytest.mark.parametrize("view", ["returns", "raises"])
@pytest.mark.parametrize("size", [10, 100_000])
async def test_files_are_closed_when_the_request_is_over(view, size):
    app, seen = App(__name__), []
    app.config["UPLOAD_SPOOL_SIZE"] = 1000

    @app.post("/")
    async def receive(request: Request):
        seen.extend((await request.files()).getlist("f"))
        seen.append(seen[0].closed)
        if view == "raises":
            raise KeyError("broken")
        return "ok"

    async with Client(app, raise_errors=False) as client:
        await client.post("/", files=[("f", ("a", b"x" * size)), ("f", ("b", b"x" * size))])

    first, second, was_closed = seen
    assert (first.closed, second.closed, was_closed) == (True, True, False)


async def test_the_files_of_a_broken_form_are_closed_too(monkeypatch):
    from microweb import formreading

    made = []

    class Watched(formreading.UploadFile):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(formreading, "UploadFile", Watched)
    app = form_app(upload_spool_size=10)

    assert (await post(app, FILE + b"x" * 300_000)).status_code == 400
    assert [file.closed for file in made] == [True]


async def test_a_file_input_without_a_choice_is_false():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        return {"chosen": bool((await request.files())["f"])}

    body = FILE.replace(b"f.bin", b"") + b"\r\n" + END

    assert (await post(app, body)).json() == {"chosen": False}


async def test_a_full_disk_is_a_507_and_one_log_line(monkeypatch, caplog):
    import errno

    from microweb.uploads import UploadFile

    def no_room(self, chunks):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(UploadFile, "_write", no_room)
    app = form_app(upload_spool_size=10)

    answer = await post(app, FILE + b"x" * 300_000 + b"\r\n" + END)

    assert answer.status_code == 507
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "no room on disk for an upload: [Errno 28] No space left on device"
    ]


async def test_another_error_of_the_disk_is_a_500(monkeypatch):
    from microweb.uploads import UploadFile

    def refuse(self, chunks):
        raise PermissionError("not there")

    monkeypatch.setattr(UploadFile, "_write", refuse)
    app = form_app(upload_spool_size=10)

    assert (await post(app, FILE + b"x" * 300_000 + b"\r\n" + END, raise_errors=False)).status_code == 500


async def test_a_file_is_not_readable_after_the_request():
    app, seen = App(__name__), []

    @app.post("/")
    async def receive(request: Request):
        seen.append((await request.files())["f"])
        return "ok"

    await post(app, FILE + b"content\r\n" + END)

    with pytest.raises(ValueError, match="closed file"):
        await seen[0].read()


async def test_a_form_whose_reader_was_cancelled_says_so_to_the_next():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        with anyio.move_on_after(0.05):
            await request.form()
        try:
            await request.form()
        except RuntimeError as error:
            return str(error)

    async def stalls():
        yield FIELD
        await anyio.sleep(0.2)
        yield b"1\r\n" + END

    assert "was cancelled" in (await post(app, stalls())).text


async def test_the_507_is_the_same_for_all_who_ask(monkeypatch):
    import errno

    from microweb.uploads import UploadFile

    def no_room(self, chunks):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(UploadFile, "_write", no_room)
    app = App(__name__)

    @app.post("/", upload_spool_size=1)
    async def receive(request: Request):
        found = []
        for _ in range(2):
            try:
                await request.form()
            except Exception as error:
                found.append(str(error))
        return {"same": found[0] == found[1], "status": found[0][:3]}

    assert (await post(app, FILE + b"content\r\n" + END)).json() == {"same": True, "status": "507"}


# Part by part -------------------------------------------------------------------------------------


def parts_app(**options):
    app = App(__name__)

    @app.post("/", **options)
    async def receive(request: Request):
        found = []
        async for part in request.parts():
            if part.filename is None:
                found.append([part.name, await part.text()])
            else:
                size = sum([len(chunk) async for chunk in part.chunks()])
                found.append([part.name, part.filename, part.content_type, part.headers["content-type"], size])
        return found

    return app


@pytest.mark.parametrize("size", [1, 1000])
async def test_parts_are_given_as_they_arrive(size):
    body = FIELD + b"1\r\n" + FILE + b"content\r\n" + FIELD + b"2\r\n" + END

    answer = await post(parts_app(), chunked(body, size))

    assert answer.json() == [["a", "1"], ["f", "f.bin", "image/png", "image/png", 7], ["a", "2"]]


async def test_parts_that_are_not_read_are_skipped():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        return [part.name async for part in request.parts()]

    assert (await post(app, FILE + b"content\r\n" + FIELD + b"1\r\n" + END)).json() == ["f", "a"]


async def test_a_part_that_is_gone_cannot_be_read():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        parts = [part async for part in request.parts()]
        try:
            await parts[0].read()
        except RuntimeError as error:
            return str(error)

    part = Part([("Content-Disposition", 'form-data; name="a"')])
    assert repr(FormPart(part, PartStream(None), None)) == "<FormPart 'a'>"
    assert "the part 'a' is gone" in (await post(app, FIELD + b"1\r\n" + FIELD + b"2\r\n" + END)).text


async def test_a_cut_body_ends_the_parts_with_a_400():
    body = FIELD + b"1\r\n" + FILE + b"content\r\n" + END
    async with Client(parts_app()) as client:
        for place in range(0, len(body) - 2, 5):
            assert (await client.post("/", content=body[:place], headers=MULTIPART)).status_code == 400


@pytest.mark.parametrize("goes_on", ["with the next part", "with this part"])
async def test_a_cut_form_is_not_complete_for_who_goes_on_after_the_error(goes_on):
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        async for part in request.parts():
            try:
                await part.read()
            except BadRequest:
                if goes_on == "with this part":
                    await part.read()
        return "complete"

    answer = await post(app, FIELD + b"1\r\n" + FILE + b"conte")

    assert answer.status_code == 400
    assert "cut off" in answer.text


async def test_a_second_reader_of_the_parts_does_not_disturb_the_first():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        parts, told = request.parts(), []

        async def read():
            try:
                async for part in parts:
                    told.append(await part.text())
            except RuntimeError as error:
                told.append(str(error))

        async with anyio.create_task_group() as readers:
            readers.start_soon(read)
            readers.start_soon(read)
        return told

    async def stalls():
        yield FIELD + b"1\r\n"
        await anyio.lowlevel.checkpoint()
        yield FIELD + b"2\r\n" + END

    answer = await post(app, stalls())

    assert answer.json() == ["the parts of the form are being read by another task already", "1", "2"]


async def test_parts_whose_reader_was_cancelled_say_so_to_the_next():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        parts = request.parts()
        part = await anext(parts)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await part.read()
        try:
            await part.read()
        except RuntimeError as error:
            return str(error)

    async def stalls():
        yield FIELD
        await anyio.lowlevel.checkpoint()
        yield b"1\r\n" + END

    assert "was cancelled" in (await post(app, stalls())).text


async def test_a_field_that_is_too_large_to_be_read_at_once_is_a_413():
    answer = await post(parts_app(max_form_memory_size=5), FIELD + b"123456\r\n" + END)

    assert answer.status_code == 413


async def test_only_multipart_has_parts():
    assert (await post(parts_app(), b"a=1", FORM)).status_code == 415


async def test_parts_after_the_form_is_an_error_that_names_both():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        await request.form()
        try:
            return [part.name async for part in request.parts()]
        except RuntimeError as error:
            return str(error)

    answer = (await post(app, FIELD + b"1\r\n" + END)).text

    assert "form()" in answer
    assert "parts()" in answer


async def test_leaving_the_parts_early_leaves_nothing_open():
    app = App(__name__)

    @app.post("/")
    async def receive(request: Request):
        async for part in request.parts():
            return part.name

    assert (await post(app, chunked(FIELD + b"1\r\n" + FILE + b"x" * 1000 + b"\r\n" + END, 50))).text == "a"


async def test_of_a_form_that_is_cut_off_nothing_is_given_to_who_asks_again():
    app = App(__name__)

    @app.post("/")
    async def view(request: Request):
        for _ in range(2):
            for read in (request.form, request.files, request.body):
                with pytest.raises((BadRequest, RuntimeError)):
                    await read()
        return "told"

    assert (await post(app, FIELD + b"1\r\n" + FILE + b"x")).text == "told"


# In def views -------------------------------------------------------------------------------------


async def test_of_a_form_that_is_cut_off_nothing_is_given_to_a_def_view_that_asks_again():
    app = App(__name__)

    @app.post("/")
    def view(request: SyncRequest):
        for _ in range(2):
            for name in ("form", "files", "data"):
                with pytest.raises((BadRequest, RuntimeError)):
                    getattr(request, name)
        return "told"

    assert (await post(app, FIELD + b"1\r\n" + FILE + b"x")).text == "told"


async def test_a_def_view_has_flasks_attributes(tmp_path):
    app = App(__name__)

    @app.post("/<int:id>")
    def receive(id: int, request: SyncRequest):
        photo = request.files["photo"]
        photo.save(tmp_path / "photo")
        return {
            "name": request.form["name"],
            "values": list(request.values.items(multi=True)),
            "again": request.form is request.form and request.files is request.files,
            "file": [photo.filename, photo.read(3).decode(), photo.stream.read().decode(), photo.content_length],
        }

    async with Client(app) as client:
        answer = await client.post("/1?q=x", data={"name": "Ada"}, files={"photo": ("p.png", b"content")})

    assert answer.json() == {
        "name": "Ada",
        "values": [["q", "x"], ["name", "Ada"]],
        "again": True,
        "file": ["p.png", "con", "tent", 7],
    }
    assert Path(tmp_path / "photo").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("DELETE", ["1", "3", "2", "4"]),
        ("PATCH", ["1", "3", "2", "4"]),
        ("GET", ["1", "3"]),
        ("HEAD", ["1", "3"]),
    ],
)
async def test_the_values_of_a_def_view_are_those_of_the_form_too_unless_it_reads(method, values):
    app = App(__name__)
    seen = []

    @app.route("/", methods=["GET", "PATCH", "DELETE"])
    def view(request: SyncRequest):
        seen.append(request.values.getlist("id"))
        return ""

    async with Client(app) as client:
        await client.request(method, "/?id=1&id=3", data={"id": ["2", "4"]})

    assert seen == [values]


async def test_a_get_in_a_def_view_has_an_empty_form():
    app = App(__name__)

    @app.get("/")
    def show(request: SyncRequest):
        return {"form": request.form.to_dict(), "files": len(request.files), "values": request.values.to_dict()}

    async with Client(app) as client:
        assert (await client.get("/?q=x")).json() == {"form": {}, "files": 0, "values": {"q": "x"}}


async def test_a_bad_form_in_a_def_view_is_answered_alike():
    app = App(__name__)

    @app.post("/")
    def show(request: SyncRequest):
        return request.form["a"]

    assert (await post(app, b"b=1", FORM)).status_code == 400
    assert (await post(app, b"{}", {"content-type": "application/json"})).status_code == 415
    assert (await post(app, FIELD)).status_code == 400


async def test_a_def_face_on_the_loop_has_what_was_awaited_before():
    app = App(__name__)

    @app.post("/")
    async def show(request: Request):
        face = SyncRequest.of(request)
        try:
            face.form  # noqa: B018 - the touch raises
        except RuntimeError as error:
            refused = str(error)
        with pytest.raises(RuntimeError, match=r"request\.data was used on the event loop"):
            face.data  # noqa: B018 - the touch raises
        await request.form()
        return {"refused": refused, "form": face.form.to_dict()}

    answer = (await post(app, b"a=1", FORM)).json()

    assert answer["form"] == {"a": "1"}
    assert "request.form was used on the event loop" in answer["refused"]
