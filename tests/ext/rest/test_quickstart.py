"""What a Flask-RESTful program looks like here: the shapes of its quickstart, with other import lines."""

from datetime import datetime

import pytest

from microweb import App, request
from microweb.ext.rest import Api, Resource, abort, fields, marshal_with, reqparse
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_todo_list() -> App:
    """The full example: a list and its items, arguments, a helper that aborts."""
    app = App(__name__)
    api = Api(app)
    todos = {"todo1": {"task": "build an API"}, "todo2": {"task": "?????"}, "todo3": {"task": "profit!"}}
    parser = reqparse.RequestParser()
    parser.add_argument("task")

    def abort_if_missing(todo_id):
        if todo_id not in todos:
            abort(404, message=f"Todo {todo_id} doesn't exist")

    class Todo(Resource):
        def get(self, todo_id):
            abort_if_missing(todo_id)
            return todos[todo_id]

        def delete(self, todo_id):
            abort_if_missing(todo_id)
            del todos[todo_id]
            return "", 204

        def put(self, todo_id):
            args = parser.parse_args()
            task = {"task": args["task"]}
            todos[todo_id] = task
            return task, 201

    class TodoList(Resource):
        def get(self):
            return todos

        def post(self):
            args = parser.parse_args()
            todo_id = f"todo{max(int(name.removeprefix('todo')) for name in todos) + 1}"
            todos[todo_id] = {"task": args["task"]}
            return todos[todo_id], 201

    api.add_resource(TodoList, "/todos")
    api.add_resource(Todo, "/todos/<todo_id>")
    return app


async def test_the_todo_list_is_read():
    async with Client(make_todo_list()) as client:
        assert set((await client.get("/todos")).json()) == {"todo1", "todo2", "todo3"}
        assert (await client.get("/todos/todo3")).json() == {"task": "profit!"}
        assert (await client.head("/todos/todo3")).status_code == 200


async def test_the_todo_list_is_written():
    async with Client(make_todo_list()) as client:
        deleted = await client.delete("/todos/todo2")
        added = await client.post("/todos", data={"task": "something new"})
        changed = await client.put("/todos/todo3", json={"task": "something different"})

        assert (deleted.status_code, deleted.content) == (204, b"")
        assert (added.status_code, added.json()) == (201, {"task": "something new"})
        assert (changed.status_code, changed.json()) == (201, {"task": "something different"})
        assert (await client.get("/todos/todo4")).json() == {"task": "something new"}


async def test_a_todo_that_is_missing_is_a_problem_with_its_message():
    async with Client(make_todo_list()) as client:
        response = await client.get("/todos/todo9", headers={"accept": "text/html"})

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["message"] == response.json()["detail"] == "Todo todo9 doesn't exist"


async def test_one_resource_has_several_paths_and_answers_405_with_allow():
    app = App(__name__)
    api = Api(app)

    class HelloWorld(Resource):
        def get(self):
            return {"hello": "world"}

    api.add_resource(HelloWorld, "/", "/hello")

    async with Client(app) as client:
        assert (await client.get("/")).json() == {"hello": "world"}
        assert (await client.get("/hello")).json() == {"hello": "world"}
        refused = await client.post("/hello", headers={"accept": "text/html"})
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert refused.json()["status"] == 405
        assert (await client.options("/hello")).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_the_form_is_read_in_a_def_method_as_in_flask():
    app, todos = App(__name__), {}
    api = Api(app)

    class TodoSimple(Resource):
        def get(self, todo_id):
            return {todo_id: todos[todo_id]}

        def put(self, todo_id):
            todos[todo_id] = request.form["data"]
            return {todo_id: todos[todo_id]}

    api.add_resource(TodoSimple, "/<string:todo_id>")

    async with Client(app) as client:
        assert (await client.put("/todo1", data={"data": "Remember the milk"})).json() == {"todo1": "Remember the milk"}
        assert (await client.get("/todo1")).json() == {"todo1": "Remember the milk"}


@pytest.mark.parametrize(
    ("value", "status", "etag"),
    [
        ({"task": "Hello world"}, 200, None),
        (({"task": "Hello world"}, 201), 201, None),
        (({"task": "Hello world"}, 201, {"Etag": "some-opaque-string"}), 201, "some-opaque-string"),
    ],
)
async def test_a_method_returns_data_a_status_and_headers(value, status, etag):
    app = App(__name__)
    api = Api(app)

    @api.resource("/todo")
    class Todo(Resource):
        def get(self):
            return value

    async with Client(app) as client:
        response = await client.get("/todo")

    assert (response.status_code, response.json()) == (status, {"task": "Hello world"})
    assert response.headers.get("etag") == etag


async def test_a_data_object_is_marshalled_with_its_url():
    app = App(__name__)
    api = Api(app)
    shape = {"task": fields.String, "uri": fields.Url("todo_ep")}

    class TodoDao:
        def __init__(self, todo_id, task):
            self.todo_id = todo_id
            self.task = task
            self.status = "active"
            self.when = datetime(2024, 1, 1)

    class Todo(Resource):
        @marshal_with(shape)
        def get(self, **kwargs):
            return TodoDao(todo_id="my_todo", task="Remember the milk")

    api.add_resource(Todo, "/todo/<todo_id>", endpoint="todo_ep")

    async with Client(app) as client:
        response = await client.get("/todo/my_todo")

    assert response.json() == {"task": "Remember the milk", "uri": "/todo/my_todo"}
