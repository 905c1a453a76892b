"""Whole numbers that were written with a fraction."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb import App, Body
from microweb.testing import Client
from microweb.wholenumbers import rewrite_whole_numbers

pytestmark = pytest.mark.anyio


class Line(msgspec.Struct):
    count: int
    price: float = 0.0
    note: Any = None


async def post(view, body):
    app = App(__name__)
    app.add_route("/", view, methods=["POST"])
    async with Client(app) as client:
        return await client.post("/", content=body, headers={"content-type": "application/json"})


async def take(lines: list[Line]) -> list[Line]:
    return lines


async def test_an_integer_may_be_written_with_a_fraction_of_nothing():
    answer = await post(take, b'[{"count": 2.0, "price": 3.0}, {"count": 1e2, "price": 1.5}]')

    assert answer.json() == [{"count": 2, "price": 3.0, "note": None}, {"count": 100, "price": 1.5, "note": None}]


async def test_a_number_with_a_fraction_is_no_integer():
    answer = await post(take, b'[{"count": 2.0}, {"count": 2.5}]')

    assert answer.json()["errors"] == [{"in": "body", "name": "[1].count", "reason": "expected int, got float"}]


async def test_the_same_holds_under_a_key_of_the_body():
    async def view(count: Annotated[int, Body("count")], line: Annotated[Line, Body("line")]):
        return [count, line.count]

    assert (await post(view, b'{"count": 2.0, "line": {"count": 3.0}}')).json() == [2, 3]


async def test_a_body_that_is_right_is_taken_as_it_is():
    answer = await post(take, b'[{"count": 2, "note": {"x": 2.0}}]')

    assert answer.json() == [{"count": 2, "price": 0.0, "note": {"x": 2.0}}]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
def test_what_is_rewritten_is_equal(value):
    written = rewrite_whole_numbers(value)

    assert written is None or json.loads(written) == value


@given(PLAIN)
def test_what_was_rewritten_is_not_rewritten_again(value):
    written = rewrite_whole_numbers(value)

    assert written is None or rewrite_whole_numbers(json.loads(written)) is None
