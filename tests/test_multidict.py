import copy
import pickle

import pytest
import werkzeug.datastructures
from hypothesis import given
from hypothesis import strategies as st

from microweb.errors import BadRequest, BadRequestKeyError
from microweb.multidict import MultiDict

PAIRS = st.lists(st.tuples(st.sampled_from(["a", "b", "A", ""]) | st.text(max_size=3), st.text(max_size=3)))


def test_a_key_shows_its_first_value():
    args = MultiDict([("tag", "a"), ("tag", "b"), ("page", "2")])

    assert args["tag"] == "a"
    assert args.get("tag") == "a"
    assert args.getlist("tag") == ["a", "b"]


def test_a_missing_key_is_a_400_that_names_it_and_its_kind():
    args = MultiDict([("a", "1")], kind="cookie")

    with pytest.raises(BadRequestKeyError) as caught:
        args["b"]

    assert caught.value.key == "b"
    assert caught.value.description == "The cookie 'b' is missing."
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, BadRequest)


def test_the_kind_of_a_key_is_a_field_unless_told_otherwise():
    with pytest.raises(BadRequestKeyError, match="The field 'b' is missing"):
        MultiDict()["b"]


def test_get_of_a_missing_key_gives_the_default_unconverted():
    args = MultiDict([("a", "1")])

    assert args.get("b") is None
    assert args.get("b", 5) == 5
    assert args.get("b", "x", type=int) == "x"


def test_get_converts_with_type_and_falls_back_where_it_refuses():
    args = MultiDict([("page", "2"), ("size", "many")])

    assert args.get("page", type=int) == 2
    assert args.get("size", type=int) is None
    assert args.get("size", 10, type=int) == 10
    assert args.get("size", 10, type=lambda value: value + 1) == 10


def test_get_lets_other_errors_of_type_through():
    args = MultiDict([("a", "1")])

    with pytest.raises(ZeroDivisionError):
        args.get("a", type=lambda value: 1 // 0)


def test_getlist_leaves_out_what_type_refuses():
    args = MultiDict([("n", "1"), ("n", "x"), ("n", "3")])

    assert args.getlist("n", type=int) == [1, 3]
    assert args.getlist("m", type=int) == []
    assert args.getlist("n", type=lambda value: value + 1) == []


def test_items_with_multi_gives_a_pair_for_each_value():
    args = MultiDict([("a", "1"), ("b", "2"), ("a", "3")])

    assert list(args.items()) == [("a", "1"), ("b", "2")]
    assert list(args.items(multi=True)) == [("a", "1"), ("a", "3"), ("b", "2")]
    assert len(args.items(multi=True)) == 3
    assert ("a", "3") in args.items(multi=True)
    assert ("a", "3") not in args.items()


def test_it_reads_as_a_mapping_of_first_values():
    args = MultiDict([("a", "1"), ("b", "2"), ("a", "3")])

    assert list(args) == list(args.keys()) == ["a", "b"]
    assert list(args.values()) == ["1", "2"]
    assert len(args) == 2
    assert "a" in args
    assert "c" not in args
    assert dict(args) == args.to_dict() == {"a": "1", "b": "2"}
    assert not MultiDict()


def test_lists_and_to_dict_hold_every_value():
    args = MultiDict([("a", "1"), ("b", "2"), ("a", "3")])

    assert list(args.lists()) == [("a", ["1", "3"]), ("b", ["2"])]
    assert args.to_dict(flat=False) == {"a": ["1", "3"], "b": ["2"]}


def test_what_it_hands_out_does_not_change_it():
    args = MultiDict([("a", "1")])

    args.getlist("a").append("2")
    args.to_dict(flat=False)["a"].append("2")
    next(args.lists())[1].append("2")

    assert args == MultiDict([("a", "1")])


def test_it_cannot_be_changed():
    args = MultiDict([("a", "1")])

    with pytest.raises(TypeError):
        args["a"] = "2"
    with pytest.raises(TypeError):
        del args["a"]


def test_it_equals_another_with_the_same_lists():
    one = MultiDict([("a", "1"), ("b", "2")])

    assert one == MultiDict([("b", "2"), ("a", "1")], kind="cookie")
    assert one != MultiDict([("a", "1"), ("b", "2"), ("b", "2")])
    assert one != [("a", "1"), ("b", "2")]


def test_it_equals_a_plain_mapping_only_without_repeats():
    assert MultiDict([("a", "1")]) == {"a": "1"}
    assert MultiDict([("a", "1"), ("a", "1")]) != {"a": "1"}


def test_it_has_no_hash_as_no_mapping_has_one():
    with pytest.raises(TypeError, match="unhashable"):
        hash(MultiDict())


def test_copies_are_equal():
    args = MultiDict([("a", "1"), ("a", "2")])

    assert args.copy() == copy.copy(args) == copy.deepcopy(args) == pickle.loads(pickle.dumps(args)) == args


def test_its_repr_builds_it_again():
    args = MultiDict([("a", "1"), ("b", "2"), ("a", "3")])

    assert repr(args) == "MultiDict([('a', '1'), ('a', '3'), ('b', '2')])"
    assert eval(repr(args)) == args


@given(PAIRS)
def test_it_reads_as_werkzeugs_does(pairs):
    ours = MultiDict(pairs)
    theirs = werkzeug.datastructures.MultiDict(pairs)

    assert list(ours.items()) == list(theirs.items())
    assert list(ours.items(multi=True)) == list(theirs.items(multi=True))
    assert list(ours.lists()) == list(theirs.lists())
    assert ours.to_dict() == theirs.to_dict()
    for key, _ in [*pairs, ("missing", "")]:
        assert ours.getlist(key) == theirs.getlist(key)
        assert ours.get(key, type=int) == theirs.get(key, type=int)
