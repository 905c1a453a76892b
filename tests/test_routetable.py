"""The route table: which rule wins, what a miss is, what it costs. Oracles: werkzeug, and a naive search."""

import gc
import itertools
import random
import re
import sys
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect
from werkzeug.routing import Rule as WerkzeugRule

from microweb.converters import BUILTIN_CONVERTERS, Converter
from microweb.errors import FrozenError, SetupError
from microweb.routetable import AbsoluteTarget, Miss, RouteTable
from microweb.rulereading import parse_host_pattern, parse_pattern


class Sites:
    """A table under construction; a target is the text of its rule unless it gets a name."""

    def __init__(self):
        self.table = RouteTable("app")

    def add(self, rule, methods="GET", *, name=None, host=None, place="app.py:1", converters=None, **options):
        self.table.add(
            parse_pattern(rule, {**BUILTIN_CONVERTERS, **(converters or {})}),
            name or rule,
            methods=frozenset(methods.split()),
            owner="app",
            place=place,
            host=parse_host_pattern(host) if host else None,
            **options,
        )
        return self

    def websocket(self, rule, *, name=None, **options):
        self.table.add(parse_pattern(rule), name or rule, methods=None, owner="app", place="app.py:1", **options)
        return self

    def mount(self, rule, *, name=None, host=None, place="app.py:1"):
        host_pattern = parse_host_pattern(host) if host else None
        self.table.add_mount(parse_pattern(rule), name or rule, owner="app", place=place, host=host_pattern)
        return self

    def own(self, rule, owner, *, host=None):
        self.table.add_owner(parse_pattern(rule), owner, host=parse_host_pattern(host) if host else None)
        return self

    def freeze(self):
        self.table.freeze(lambda miss: miss)
        return self.table


def sites(*rules, **options):
    made = Sites()
    for rule in rules:
        made.add(rule, **options)
    return made


def ask(table, path, method="GET", raw_path=None, host=None):
    return table.match(method, path, raw_path, host)


NOT_FOUND = (Miss("not_found", "app"), None)
ADD_SLASH = (Miss("add_slash", "app"), None)
MERGE_SLASHES = (Miss("merge_slashes", "app"), None)


# What matches


@pytest.mark.parametrize(
    ("rule", "path", "values"),
    [
        ("/", "/", None),
        ("/", "", None),
        ("/a/b", "/a/b", None),
        ("/a/", "/a/", None),
        ("/<name>", "/x", {"name": "x"}),
        ("/<int:n>", "/7", {"n": 7}),
        ("/a/<int:n>/b/<x>/", "/a/7/b/c/", {"n": 7, "x": "c"}),
        ("/<float:x>", "/1.5", {"x": 1.5}),
        ("/v<int:n>", "/v7", {"n": 7}),
        ("/<a>-<int:b>.txt", "/x-y-7.txt", {"a": "x-y", "b": 7}),
        ("/<path:p>", "/a/b/", {"p": "a/b/"}),
        ("/f/<path:p>", "/f/a/b", {"p": "a/b"}),
        ("/f/<path:p>", "/f/a//b", {"p": "a//b"}),
        ("/f/x<path:p>", "/f/xa/b", {"p": "a/b"}),
        ("/<path:p>-<path:q>", "/a-/b-c", {"p": "a-/b", "q": "c"}),
        ("/<string(maxlength=1):a>-<b>", "/x-y-z", {"a": "x", "b": "y-z"}),
        ("/<string(minlength=2):x>", "/ab", {"x": "ab"}),
        ("/<int(signed=True):n>", "/-7", {"n": -7}),
        ("/<int:a>-<b>", "/7-x", {"a": 7, "b": "x"}),
        ("/<int:a><b>", "/7x", {"a": 7, "b": "x"}),
        ("/<int:a><int:b>", "/789", {"a": 78, "b": 9}),
        ("/<path:p>/edit", "/a/b/edit", {"p": "a/b"}),
        ("/<path:p>/", "/a/b/", {"p": "a/b"}),
        ("/<x>/<path:p>/<int:n>", "/a/b/c/7", {"x": "a", "p": "b/c", "n": 7}),
        ("/é", "/é", None),
        ("/a b", "/a b", None),
        ("/.", "/.", None),
        ("/<x>", "/..", {"x": ".."}),
        ("/<x>", "/\ud800", {"x": "\ud800"}),
        ("/<x>", "/\0", {"x": "\0"}),
    ],
)
def test_a_path_that_fits_the_rule_gives_target_and_values(rule, path, values):
    table = sites(rule).freeze()

    assert ask(table, path) == (rule, values)


@pytest.mark.parametrize("path", ["http://example.com", "http://example.com/", "HTTPS://example.com/a"])
def test_a_whole_url_is_no_path_and_no_miss(path):
    table = sites("/", "/<x>").freeze()

    with pytest.raises(AbsoluteTarget):
        ask(table, path)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/a", "/A"),
        ("/a", "/a/"),
        ("/a", "/ab"),
        ("/a", "a"),
        ("/a", "/"),
        ("/", "*"),
        ("/", "ftp://example.com/"),
        ("/", "http:/"),
        ("/", "http:"),
        ("/<int:n>", "/-7"),
        ("/<int:n>", "/٣"),
        ("/<int:n>", "/" + "9" * 5000),
        ("/<int:n>", "/7/"),
        ("/<x>", "/"),
        ("/<x>", "/a/b"),
        ("/f/<path:p>", "/f/"),
        ("/f/x<path:p>", "/f/a/b"),
        ("/<string(minlength=2):x>", "/a"),
        ("/<string(maxlength=2):x>", "/abc"),
        ("/<int(min=5):n>", "/4"),
        ("/<int(max=5):n>", "/6"),
        ("/<int(fixed_digits=2):n>", "/7"),
        ("/f/<path:p>", "/f"),
        ("/<path:p>/edit", "/edit"),
        ("/<x>", "a"),
    ],
)
def test_a_path_that_does_not_fit_is_not_found(rule, path):
    table = sites(rule).freeze()

    assert ask(table, path) == NOT_FOUND


def test_values_are_a_fresh_dict_each_time():
    table = sites("/u/<int:n>", "/s/<x>", "/p/<path:p>").add("/d", defaults={"page": 1}).freeze()

    for path in ("/u/7", "/s/x", "/p/q", "/d"):
        values = ask(table, path)[1]
        values["added"] = True
        assert "added" not in ask(table, path)[1]


def test_rules_may_call_one_variable_by_different_names():
    table = sites("/u/<int:a>/<x>/1", "/u/<int:b>/<x>/2", "/u/<int:x>/<a>/3", "/u/<int:x>").freeze()

    assert ask(table, "/u/7/y/1") == ("/u/<int:a>/<x>/1", {"a": 7, "x": "y"})
    assert ask(table, "/u/7/y/2") == ("/u/<int:b>/<x>/2", {"b": 7, "x": "y"})
    assert ask(table, "/u/7/y/3") == ("/u/<int:x>/<a>/3", {"x": 7, "a": "y"})
    assert ask(table, "/u/7") == ("/u/<int:x>", {"x": 7})


def test_methods_of_one_path_may_call_the_variable_by_different_names():
    table = sites("/u/<a>").add("/u/<b>", "POST").add("/p/<path:a>").add("/p/<path:b>", "POST").freeze()

    assert ask(table, "/u/x") == ("/u/<a>", {"a": "x"})
    assert ask(table, "/u/x", "POST") == ("/u/<b>", {"b": "x"})
    assert ask(table, "/p/x/y", "POST") == ("/p/<path:b>", {"b": "x/y"})


def test_defaults_are_among_the_values():
    table = sites("/list/<int:page>").add("/list/", defaults={"page": 1}, name="first").freeze()

    assert ask(table, "/list/") == ("first", {"page": 1})
    assert ask(table, "/list/2") == ("/list/<int:page>", {"page": 2})


def test_a_converter_of_the_program_decides_what_matches():
    class Even(Converter):
        regex = "[0-9]+"

        def to_python(self, value):
            if int(value) % 2:
                raise ValueError("odd")
            return int(value)

    table = Sites().add("/<even:n>", converters={"even": Even}).add("/<x>").freeze()

    assert ask(table, "/4") == ("/<even:n>", {"n": 4})
    assert ask(table, "/5") == ("/<x>", {"x": "5"})


def test_a_regex_that_takes_nothing_matches_an_empty_segment():
    class Optional(Converter):
        regex = "[a-z]*"

    table = Sites().add("/a/<optional:x>", converters={"optional": Optional}).freeze()

    assert ask(table, "/a/") == ("/a/<optional:x>", {"x": ""})
    assert ask(table, "/a") == NOT_FOUND


# Which one wins

BY_PRECEDENCE = [
    "/x/new",
    "/x/n<a>w",
    "/x/<a>w",
    "/x/<any(new,old):a>",
    "/x/<string(length=3):a>",
    "/x/<string(maxlength=3):a>",
    "/x/<string(minlength=2):a>",
    "/x/<a>",
    "/x/<path:a>",
    "/<a>/new",
    "/<path:a>/new",
    "/<path:a>",
]


@pytest.mark.parametrize("seed", range(10))
def test_the_most_specific_rule_wins_whatever_the_order(seed):
    rules = random.Random(seed).sample(BY_PRECEDENCE, 5)

    table = sites(*rules).freeze()

    assert ask(table, "/x/new")[0] == min(rules, key=BY_PRECEDENCE.index)


@pytest.mark.parametrize(("specific", "general"), list(itertools.pairwise(BY_PRECEDENCE)))
def test_a_rule_beats_the_next_general_one_in_both_orders(specific, general):
    assert ask(sites(specific, general).freeze(), "/x/new")[0] == specific
    assert ask(sites(general, specific).freeze(), "/x/new")[0] == specific


MIXTURES = ["/abc<x>", "/ab<x>", "/ab<int:x>", "/a<x>c", "/a<x>", "/b<x>", "/<x>c", "/<x>.<y>", "/<int:x>", "/<x>"]


@pytest.mark.parametrize("path", ["/abcd", "/ab7", "/abxc", "/axc", "/ax", "/a", "/bx", "/bc", "/x.y", "/7", "/x"])
def test_of_many_rules_in_one_place_the_best_of_those_that_fit_wins(path):
    table = sites(*MIXTURES).freeze()
    alone = [(ask(sites(rule).freeze(), path), rule) for rule in MIXTURES]

    fitting = [rule for (target, _), rule in alone if target == rule]
    best = min(fitting, key=lambda rule: parse_pattern(rule).segments[0].order)

    assert ask(table, path)[0] == best


def test_a_number_beats_a_text():
    table = sites("/<x>", "/<int:x>", "/<float:x>").freeze()

    assert [ask(table, path)[1]["x"] for path in ("/7", "/7.5", "/seven")] == [7, 7.5, "seven"]


def test_a_way_that_leads_nowhere_is_left_for_the_next_one():
    table = sites("/a/<int:x>/c", "/a/<x>/d", "/<x>/b/d", "/<path:x>/e").freeze()

    assert ask(table, "/a/7/c")[0] == "/a/<int:x>/c"
    assert ask(table, "/a/7/d")[0] == "/a/<x>/d"
    assert ask(table, "/a/b/d")[0] == "/a/<x>/d"
    assert ask(table, "/z/b/d")[0] == "/<x>/b/d"
    assert ask(table, "/a/b/e")[0] == "/<path:x>/e"


def test_a_number_that_leads_nowhere_may_still_be_a_text():
    table = sites("/<int:x>/c", "/<x>/d").freeze()

    assert ask(table, "/7/d") == ("/<x>/d", {"x": "7"})
    assert ask(table, "/7/e") == NOT_FOUND


def test_a_rule_without_the_method_is_left_for_the_next_one():
    table = sites("/a/b").add("/a/<x>", "POST").add("/<path:x>", "PUT").freeze()

    assert ask(table, "/a/b", "POST") == ("/a/<x>", {"x": "b"})
    assert ask(table, "/a/b", "PUT") == ("/<path:x>", {"x": "a/b"})


# Methods


def test_head_is_answered_by_get_unless_it_has_a_route():
    table = sites("/a", "/b").add("/b", "HEAD", name="own").freeze()

    assert ask(table, "/a", "HEAD")[0] == "/a"
    assert ask(table, "/b", "HEAD")[0] == "own"
    assert ask(table, "/b", "GET")[0] == "/b"


def test_head_is_not_answered_by_post():
    table = sites("/a", methods="POST").freeze()

    assert ask(table, "/a", "HEAD") == (Miss("method_not_allowed", "app", ("OPTIONS", "POST")), None)


def test_a_method_that_no_rule_of_the_path_has_is_not_allowed():
    table = sites("/a").add("/<x>", "POST PUT").add("/<path:x>", "DELETE").freeze()

    allow = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
    assert ask(table, "/a", "PATCH") == (Miss("method_not_allowed", "app", allow), None)
    assert ask(table, "/b/c", "PATCH") == (Miss("method_not_allowed", "app", ("DELETE", "OPTIONS")), None)


@pytest.mark.parametrize("method", ["__class__", "websocket", "WEBSOCKET", "get", "", "GET ", "*", "\ud800"])
def test_no_name_of_a_method_reaches_anything_by_accident(method):
    table = sites("/a", "/b/<x>").websocket("/a").websocket("/w").freeze()

    for path in ("/a", "/b/c"):
        assert ask(table, path, method)[0].kind == "method_not_allowed"
    assert ask(table, "/w", method) == NOT_FOUND


def test_options_is_answered_for_the_path_unless_it_has_a_route():
    table = sites("/a", "/b").add("/b", "OPTIONS", name="own").freeze()

    assert ask(table, "/a", "OPTIONS") == (Miss("options", "app", ("GET", "HEAD", "OPTIONS")), None)
    assert ask(table, "/b", "OPTIONS")[0] == "own"
    assert ask(table, "/c", "OPTIONS") == NOT_FOUND


def test_a_general_options_route_answers_for_specific_paths():
    table = sites("/a").add("/<path:x>", "OPTIONS", name="preflight").freeze()

    assert ask(table, "/a", "OPTIONS")[0] == "preflight"


# Slashes


def test_a_missing_slash_is_a_redirect():
    table = sites("/a/", "/u/<int:n>/", "/p/<path:p>/").freeze()

    assert ask(table, "/a") == ADD_SLASH
    assert ask(table, "/u/7") == ADD_SLASH
    assert ask(table, "/p/q/r") == ADD_SLASH
    assert ask(table, "/u/x") == NOT_FOUND


def test_a_slash_too_many_is_not_found():
    table = sites("/a", "/u/<int:n>").freeze()

    assert ask(table, "/a/") == NOT_FOUND
    assert ask(table, "/u/7/") == NOT_FOUND


def test_a_redirect_is_only_for_methods_that_arrive():
    table = sites("/a/").freeze()

    assert ask(table, "/a", "HEAD") == ADD_SLASH
    assert ask(table, "/a", "POST")[0].kind == "method_not_allowed"
    assert ask(table, "/a", "OPTIONS")[0].kind == "options"


def test_without_strict_slashes_both_forms_match():
    rules = ("/a", "/b/", "/u/<int:n>", "/v/<int:n>/", "/p/<path:p>/edit", "/q/<path:p>/")
    table = sites(*rules, strict_slashes=False).freeze()

    for path, rule in [
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/b", "/b/"),
        ("/b/", "/b/"),
        ("/u/7/", "/u/<int:n>"),
        ("/v/7", "/v/<int:n>/"),
        ("/p/x/edit", "/p/<path:p>/edit"),
        ("/p/x/edit/", "/p/<path:p>/edit"),
        ("/q/x", "/q/<path:p>/"),
        ("/q/x/", "/q/<path:p>/"),
    ]:
        assert ask(table, path)[0] == rule


def test_a_path_at_the_end_takes_a_slash_as_its_own():
    alone = sites("/<path:p>", strict_slashes=False).freeze()
    beside_others = sites("/<path:p>", "/<int:n>", strict_slashes=False).freeze()

    for table in (alone, beside_others):
        assert ask(table, "/a/")[1] == {"p": "a/"}


def test_the_exact_form_beats_the_one_with_another_slash():
    table = sites("/a", "/p/<path:p>", strict_slashes=False).add("/a/").add("/p/<path:p>/").freeze()

    for path, rule in [("/a", "/a"), ("/a/", "/a/"), ("/p/b", "/p/<path:p>"), ("/p/b/", "/p/<path:p>/")]:
        assert ask(table, path)[0] == rule


def test_each_form_keeps_its_own_methods():
    table = sites("/a").add("/a/", "POST").freeze()

    assert ask(table, "/a", "POST") == ADD_SLASH
    assert ask(table, "/a", "GET")[0] == "/a"
    assert ask(table, "/a/", "GET")[0].kind == "method_not_allowed"


def test_a_redirect_of_the_specific_rule_beats_a_general_rule():
    table = sites("/a/", "/<x>").freeze()

    assert ask(table, "/a") == ADD_SLASH
    assert ask(table, "/b")[0] == "/<x>"


@pytest.mark.parametrize("path", ["//a", "/a//b", "/u//7", "///a", "/c//", "//c/", "//"])
def test_several_slashes_are_a_redirect_to_one_if_that_matches(path):
    table = sites("/", "/a", "/a/b", "/u/<int:n>", "/c/").freeze()

    assert ask(table, path) == MERGE_SLASHES


@pytest.mark.parametrize("path", ["//x", "/a//", "/u//x", "//a/b/"])
def test_several_slashes_in_a_path_that_would_not_match_are_not_found(path):
    table = sites("/a", "/u/<int:n>").freeze()

    assert ask(table, path) == NOT_FOUND


def test_several_slashes_with_a_method_that_does_not_arrive_are_not_allowed():
    table = sites("/a").freeze()

    assert ask(table, "//a", "POST")[0].kind == "method_not_allowed"


def test_a_slash_is_never_added_to_a_path_that_ends_with_one():
    table = sites("/p/<path:p>").add("/p/<path:p>/", "POST").freeze()

    assert ask(table, "/p/a//", "POST") == MERGE_SLASHES
    assert ask(table, "/p/a/", "POST")[0] == "/p/<path:p>/"


@pytest.mark.parametrize(
    ("kind", "path", "raw_path", "location"),
    [
        ("add_slash", "/a", None, "/a/"),
        ("add_slash", "/a b/é", None, "/a%20b/%C3%A9/"),
        ("add_slash", "/a b", b"/a%20b", "/a%20b/"),
        ("add_slash", "/a/b", b"/a%2Fb", "/a%2Fb/"),
        ("add_slash", "/a/b", b"/other%2Fb", "/a/b/"),
        ("add_slash", "/é", "/é".encode(), "/%C3%A9/"),
        ("add_slash", "/é 100%", "/é%20100%".encode(), "/%C3%A9%20100%25/"),
        ("add_slash", "/a", b"/a?x=1", "/a/"),
        ("add_slash", "//evil.example/x", None, "/evil.example/x/"),
        ("add_slash", "/\\evil.example", b"/\\evil.example", "/%5Cevil.example/"),
        ("add_slash", "/\\evil.example", b"/%5Cevil.example", "/%5Cevil.example/"),
        ("add_slash", "/\r\nx: y", b"/%0D%0Ax: y", "/%0D%0Ax:%20y/"),
        ("add_slash", "/\ud800", None, "/%EF%BF%BD/"),
        ("merge_slashes", "//evil.example", b"//evil.example", "/evil.example"),
        ("merge_slashes", "///a//b/", None, "/a/b/"),
        ("merge_slashes", "/a///b", b"/a/%2F/b", "/a/%2F/b"),
        ("merge_slashes", "//", None, "/"),
    ],
)
def test_a_redirect_never_leads_to_another_host(kind, path, raw_path, location):
    assert Miss(kind, "app").location(path, raw_path) == location
    assert not location.startswith("//")


@given(
    path=st.text("/\\a.%?#\n:@é", max_size=12).map("/".__add__),
    kind=st.sampled_from(["add_slash", "merge_slashes"]),
)
def test_every_location_is_a_path_of_printable_ascii(path, kind):
    from urllib.parse import quote

    for raw_path in (None, quote(path).encode(), path.encode()):
        location = Miss(kind, "app").location(path, raw_path)

        assert re.fullmatch(r"/(?!/)[!-~]*", location)
        assert "\\" not in location


# Escapes


def test_an_escaped_slash_stays_in_its_segment():
    table = sites("/f/<name>", "/f/<name>/<other>", "/f/a/b").freeze()

    assert ask(table, "/f/a/b", raw_path=b"/f/a%2Fb") == ("/f/<name>", {"name": "a/b"})
    assert ask(table, "/f/a/b", raw_path=b"/f/a%2fb") == ("/f/<name>", {"name": "a/b"})
    assert ask(table, "/f/a/b", raw_path=b"/f/a/b") == ("/f/a/b", None)
    assert ask(table, "/f/a/c", raw_path=b"/f/a/c") == ("/f/<name>/<other>", {"name": "a", "other": "c"})


def test_a_path_converter_sees_an_escaped_slash_as_a_slash():
    table = sites("/f/<path:p>", "/g/<path:p>").freeze()

    assert ask(table, "/f/a/b c", raw_path=b"/f/a%2Fb%20c") == ("/f/<path:p>", {"p": "a/b c"})
    assert ask(table, "/g//etc/passwd", raw_path=b"/g/%2Fetc/passwd") == NOT_FOUND


@pytest.mark.parametrize("raw_path", [b"/f/%C3%A9%20x", b"/f/\xc3\xa9%20x", b"/f/%c3%a9 x", None, b"/f/"])
def test_other_escapes_are_decoded_by_the_server(raw_path):
    table = sites("/f/<name>").freeze()

    assert ask(table, "/f/é x", raw_path=raw_path) == ("/f/<name>", {"name": "é x"})


def test_a_raw_path_of_another_path_does_not_count():
    table = sites("/public/<name>", "/secret/<name>").freeze()

    assert ask(table, "/secret/b", raw_path=b"/public/a%2Fb") == ("/secret/<name>", {"name": "b"})


def test_a_query_on_the_raw_path_is_cut_off():
    table = sites("/f/<name>").freeze()

    assert ask(table, "/f/a/b", raw_path=b"/f/a%2Fb?c=%2F") == ("/f/<name>", {"name": "a/b"})


@pytest.mark.parametrize(
    "raw_path", [b"/f/%ff", b"/f/%C3", b"/%ff/x", b"/f/%EF%BF%BD%ff", b"/f/a%2Fb%ff", b"/f/\xff%20"]
)
def test_escapes_that_are_no_utf8_are_a_bad_path(raw_path):
    from urllib.parse import unquote_to_bytes

    table = sites("/f/<name>").freeze()
    path = unquote_to_bytes(raw_path).decode("utf-8", "replace")

    assert ask(table, path, raw_path=raw_path) == (Miss("bad_path", "app"), None)


def test_the_replacement_character_itself_is_no_bad_path():
    table = sites("/f/<name>").freeze()

    assert ask(table, "/f/\ufffd", raw_path=b"/f/%EF%BF%BD")[1] == {"name": "\ufffd"}
    assert ask(table, "/f/\ufffd/x", raw_path=b"/f/%ef%bf%bd%2fx")[1] == {"name": "\ufffd/x"}


def test_a_stray_percent_is_a_character():
    table = sites("/f/<name>").freeze()

    assert ask(table, "/f/100%", raw_path=b"/f/100%")[1] == {"name": "100%"}


# Websockets


def test_a_websocket_and_a_page_may_share_a_path():
    table = sites("/chat").websocket("/chat", name="socket").freeze()

    assert ask(table, "/chat") == ("/chat", None)
    assert table.match_websocket("/chat", None, None) == ("socket", None)


def test_neither_reaches_the_others_target():
    table = sites("/page", "/p/<x>").websocket("/socket").websocket("/s/<x>/").freeze()

    assert ask(table, "/socket") == NOT_FOUND
    assert table.match_websocket("/page", None, None) == NOT_FOUND
    assert table.match_websocket("/p/x", None, None) == NOT_FOUND
    assert table.match_websocket("/s/x", None, None) == NOT_FOUND
    assert table.match_websocket("/s/x/", None, None) == ("/s/<x>/", {"x": "x"})


def test_a_websocket_path_keeps_its_escaped_slash():
    table = sites().websocket("/room/<name>", defaults={"kind": "chat"}).freeze()

    assert table.match_websocket("/room/a/b", b"/room/a%2Fb", None)[1] == {"name": "a/b", "kind": "chat"}
    assert table.match_websocket("/room/\ufffd", b"/room/%ff", None)[1] == {"name": "\ufffd", "kind": "chat"}


# Mounts


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/x", "/api/x/y//z"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PROPFIND"])
def test_a_mount_takes_everything_at_and_under_its_prefix(path, method):
    table = sites("/other").mount("/api").freeze()

    assert ask(table, path, method) == ("/api", None)
    assert table.match_websocket(path, None, None) == ("/api", None)


@pytest.mark.parametrize("path", ["/", "/ap", "/apis", "/x/api"])
def test_a_mount_takes_nothing_beside_its_prefix(path):
    table = sites().mount("/api").freeze()

    assert ask(table, path) == NOT_FOUND


def test_a_mount_may_have_variables_in_its_prefix():
    table = sites("/<tenant>/about").mount("/<tenant>/api/", name="api").freeze()

    assert ask(table, "/acme/api/x") == ("api", {"tenant": "acme"})
    assert ask(table, "/acme/about") == ("/<tenant>/about", {"tenant": "acme"})
    assert ask(table, "/acme/other") == NOT_FOUND


def test_routes_beside_a_mount_win_if_they_are_as_specific():
    table = sites("/api/status", "/<x>/y", "/api/<int:n>/z").mount("/api", name="mounted").freeze()

    assert ask(table, "/api/status")[0] == "/api/status"
    assert ask(table, "/api/status", "POST")[0] == "mounted"
    assert ask(table, "/api/7/z")[0] == "/api/<int:n>/z"
    assert ask(table, "/api/7/q")[0] == "mounted"
    assert ask(table, "/api/y")[0] == "mounted"
    assert ask(table, "/b/y")[0] == "/<x>/y"


def test_the_deepest_mount_wins():
    table = sites().mount("/").mount("/a").mount("/a/b").freeze()

    assert [ask(table, path)[0] for path in ("/x", "", "/a/x", "/a/b/c", "/a/bb")] == [
        "/",
        "/",
        "/a",
        "/a/b",
        "/a",
    ]


def test_a_path_under_the_prefix_of_a_mount_beats_it():
    table = sites("/a/<path:p>").mount("/a", name="mounted").freeze()

    assert ask(table, "/a/x/y")[0] == "/a/<path:p>"
    assert ask(table, "/a")[0] == "mounted"


# Owners


def owned(path, method="GET", **options):
    made = sites("/admin/users", "/adm").own("/admin", "admin").own("/admin/deep/", "deep")
    made.own("/t/<name>/x", "tenant").own("/t/special", "special").own("/<path>", "nobody's")
    return ask(made.freeze(), path, method, **options)[0].owner


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/", "app"),
        ("/admin", "admin"),
        ("/admin/", "admin"),
        ("/admin/x/y", "admin"),
        ("/admin/deep/z", "deep"),
        ("/admin//deep/z", "deep"),
        ("//admin/deep", "deep"),
        ("/t/special/x/y", "tenant"),
        ("/t/special/y", "special"),
        ("/t/other/y", "nobody's"),
        ("*", "app"),
    ],
)
def test_a_miss_belongs_to_the_deepest_prefix(path, owner):
    assert owned(path) == owner


def test_every_kind_of_miss_has_its_owner():
    table = sites("/admin/a", "/admin/b/").own("/admin", "admin").freeze()

    misses = [
        ask(table, "/admin/a", "POST"),
        ask(table, "/admin/a", "OPTIONS"),
        ask(table, "/admin/b"),
        ask(table, "/admin//a"),
        ask(table, "/admin/\ufffd", raw_path=b"/admin/%ff"),
        table.match_websocket("/admin/a", None, None),
    ]

    assert [miss.owner for miss, _ in misses] == ["admin"] * 6
    assert [miss.kind for miss, _ in misses[:5]] == [
        "method_not_allowed",
        "options",
        "add_slash",
        "merge_slashes",
        "bad_path",
    ]


def test_of_two_owners_with_one_prefix_the_first_counts():
    table = sites().own("/a", "first").own("/a", "second").freeze()

    assert ask(table, "/a/x")[0].owner == "first"


def test_the_empty_prefix_owns_nothing_of_the_app():
    table = sites().own("", "router").freeze()

    assert ask(table, "/x")[0].owner == "app"


def test_misses_are_made_before_the_first_request():
    made = []
    built = sites("/a", "/a/b/").add("/u/<x>", "POST").add("/p/<path:x>", "QUX").own("/a", "router")
    table = built.websocket("/socket").table

    table.freeze(lambda miss: made.append(miss) or miss)

    count = len(made)
    for path, method in [
        ("/a", "PUT"),
        ("/a", "OPTIONS"),
        ("/a/b", "GET"),
        ("/x", "GET"),
        ("/u/x", "GET"),
        ("/p/x/y", "GET"),
        ("//a", "GET"),
    ]:
        assert isinstance(ask(table, path, method)[0], Miss)
    assert len(made) == count == len(set(made))
    assert not any("websocket" in miss.allow for miss in made)


def test_the_methods_of_rules_that_meet_make_one_miss_however_often_they_are_asked():
    made = []
    table = sites("/a").add("/<x>", "POST").table
    table.freeze(lambda miss: made.append(miss) or miss)
    count = len(made)

    for method in ("PUT", "PATCH", "QUX"):
        ask(table, "/a", method)

    assert len(made) == count + 1


# Hosts


def test_an_exact_host_beats_a_pattern_beats_no_host():
    made = sites("/", "/only").add("/", host="www.example.com", name="exact")
    made.add("/", host="<sub>.example.com", name="pattern").add("/", host="<a>.<b>.com", name="wide")
    table = made.freeze()

    assert table.uses_hosts
    assert ask(table, "/", host="www.example.com") == ("exact", None)
    assert ask(table, "/", host="x.example.com") == ("pattern", {"sub": "x"})
    assert ask(table, "/", host="x.other.com") == ("wide", {"a": "x", "b": "other"})
    assert ask(table, "/", host="other.org") == ("/", None)
    assert ask(table, "/", host=None) == ("/", None)


@pytest.mark.parametrize("hosts", [*itertools.permutations(["<x>.example.com", "www.<x>.com", "<x>.<y>.com"])])
def test_the_end_of_a_host_says_most_whatever_the_order(hosts):
    made = sites()
    for host in hosts:
        made.add("/", host=host, name=host)

    table = made.freeze()

    assert ask(table, "/", host="www.example.com")[0] == "<x>.example.com"
    assert ask(table, "/", host="www.other.com")[0] == "www.<x>.com"


def test_what_a_host_does_not_have_is_looked_for_without_it():
    table = sites("/a", "/b").add("/a", "POST", host="h.example").add("/c", host="h.example").freeze()

    assert ask(table, "/a", host="h.example")[0] == "/a"
    assert ask(table, "/a", "POST", host="h.example")[0] == "/a"
    assert ask(table, "/b", host="h.example")[0] == "/b"
    assert ask(table, "/c", host="other.example") == NOT_FOUND
    assert ask(table, "/a", "PUT", host="h.example")[0].allow == ("GET", "HEAD", "OPTIONS", "POST")


def test_host_and_path_both_give_values():
    table = sites().add("/u/<int:n>", host="<tenant>.example.com").add("/<x>", host="<t>.example.com").freeze()

    assert ask(table, "/u/7", host="acme.example.com")[1] == {"tenant": "acme", "n": 7}
    assert ask(table, "/u", host="acme.example.com")[1] == {"t": "acme", "x": "u"}


def test_the_path_decides_among_rules_of_hosts_of_one_shape():
    table = sites().add("/<x>", host="<a>.example.com").add("/p", host="<b>.example.com").freeze()

    assert ask(table, "/p", host="h.example.com") == ("/p", {"b": "h"})


def test_mounts_owners_and_websockets_may_have_a_host():
    made = sites("/x").mount("/m", host="h.example").own("", "router", host="h.example").own("/x", "x")
    made.websocket("/w", host=parse_host_pattern("h.example"))
    table = made.freeze()

    assert ask(table, "/m/y", host="h.example")[0] == "/m"
    assert ask(table, "/m/y", host="i.example") == NOT_FOUND
    assert ask(table, "/nothing", host="h.example")[0].owner == "router"
    assert ask(table, "/x/nothing", host="h.example")[0].owner == "x"
    assert ask(table, "/nothing", host="i.example")[0].owner == "app"
    assert table.match_websocket("/w", None, "h.example")[0] == "/w"
    assert table.match_websocket("/w", None, "i.example")[0].kind == "not_found"


def test_of_two_owners_as_deep_the_one_with_the_host_counts():
    table = sites().own("/x", "anywhere").own("/x", "there", host="h.example").freeze()

    assert ask(table, "/x/y", host="h.example")[0].owner == "there"
    assert ask(table, "/x/y", host="i.example")[0].owner == "anywhere"


@pytest.mark.parametrize("host", ["", "..", "a/b", "\ud800", "example.com.", "x" * 5000])
def test_an_odd_host_is_no_host_of_a_rule(host):
    table = sites("/").add("/h", host="example.com").add("/h", host="<x>.example.com").freeze()

    assert ask(table, "/h", host=host) == NOT_FOUND
    assert ask(table, "/", host=host)[0] == "/"


def test_without_hosts_in_rules_the_host_does_not_matter():
    table = sites("/").freeze()

    assert not table.uses_hosts
    assert ask(table, "/", host="anything")[0] == "/"


# Mistakes at set-up


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/<x>", "/<y>"),
        ("/<x>", "/<string:y>"),
        ("/<x>", "/<string(minlength=1):y>"),
        ("/<int:x>", "/<int(min=0):y>"),
        ("/<int:x>/<y>/", "/<int:a>/<b>/"),
        ("/<any(a,b):x>", "/<any(b,a):y>"),
        ("/<string(length=2):x>", "/<string(minlength=2, maxlength=2):y>"),
        ("/<path:x>", "/<path:y>"),
        ("/<x>-<int:y>", "/<a>-<int:b>"),
    ],
)
def test_two_rules_that_match_the_same_name_both_places(first, second):
    made = sites().add(first, place="first.py:1")

    with pytest.raises(SetupError, match=r"second\.py:2.*first\.py:1.*for GET"):
        made.add(second, "POST GET", place="second.py:2")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"rule": "/a/"}),
        ({}, {"methods": "POST"}),
        ({}, {"methods": "HEAD"}),
        ({}, {"host": "example.com"}),
        ({"host": "<x>.example.com"}, {"host": "<x>-<y>.example.com"}),
        ({"rule": "/<int:x>"}, {"rule": "/<int(min=1):x>"}),
        ({"rule": "/<int:x>"}, {"rule": "/<x>"}),
    ],
)
def test_rules_that_differ_somewhere_may_stand_together(first, second):
    made = sites()

    made.add(**{"rule": "/a", **first})
    made.add(**{"rule": "/a", **second})

    assert len(made.table.rules) == 2


def test_hosts_of_one_shape_are_the_same_host():
    made = sites().add("/a", host="<x>.example.com")

    with pytest.raises(SetupError, match="there already"):
        made.add("/a", host="<y>.EXAMPLE.com")


def test_two_mounts_or_two_websockets_at_one_place_are_refused():
    with pytest.raises(SetupError, match="there already"):
        sites().mount("/a").mount("/a/")
    with pytest.raises(SetupError, match="there already"):
        sites().websocket("/a").websocket("/a")


def test_a_list_of_what_other_rules_spell_out_can_never_match():
    made = sites("/<any(a,b):x>/z", place="list.py:1").add("/a/z", place="a.py:1").add("/b/z", place="b.py:1")

    with pytest.raises(SetupError, match=r"list\.py:1.*never match.*a\.py:1.*b\.py:1"):
        made.freeze()


def test_a_list_of_sockets_or_mounts_may_be_spelled_out_too():
    sockets, mounts = Sites(), Sites()
    for item in ("a", "b", "<any(a,b):x>"):
        sockets.websocket(f"/{item}")
        mounts.mount(f"/{item}")

    for made in (sockets, mounts):
        with pytest.raises(SetupError, match="never match"):
            made.freeze()


@pytest.mark.parametrize(
    "others",
    [
        [{"rule": "/a/z"}],
        [{"rule": "/a/z"}, {"rule": "/b/z", "methods": "POST"}],
        [{"rule": "/a/z"}, {"rule": "/b/z", "host": "example.com"}],
        [{"rule": "/a/z"}, {"rule": "/b/<x>"}],
    ],
)
def test_a_list_with_something_left_over_is_no_mistake(others):
    made = sites("/<any(a,b):x>/z")
    for other in others:
        made.add(**other)

    assert ask(made.freeze(), "/b/z")[0] in ("/<any(a,b):x>/z", "/b/<x>")


def test_a_list_that_also_takes_a_slash_is_not_spelled_out_by_strict_rules():
    made = sites("/<any(a):x>", strict_slashes=False).add("/a")

    assert ask(made.freeze(), "/a/")[0] == "/<any(a):x>"


def test_a_rule_without_methods_can_never_match():
    with pytest.raises(SetupError, match="no methods"):
        sites("/a", methods="")


def test_the_empty_rule_is_no_route():
    with pytest.raises(SetupError, match="must start with a slash"):
        sites("")


def test_a_default_for_a_variable_of_the_rule_is_refused():
    with pytest.raises(SetupError, match="default for its own variable 'page'"):
        sites("/<int:page>", defaults={"page": 1})
    with pytest.raises(SetupError, match="default for its own variable 'x'"):
        sites("/", host="<x>.example.com", defaults={"x": 1})


def test_one_name_in_path_and_host_is_refused():
    with pytest.raises(SetupError, match="variable 'x'"):
        sites("/<x>", host="<x>.example.com")


def test_a_prefix_does_not_span_segments():
    with pytest.raises(SetupError, match="spans segments"):
        sites().mount("/<path:p>/x")
    with pytest.raises(SetupError, match="spans segments"):
        sites().own("/<path:p>", "router")


def test_a_frozen_table_takes_nothing_more():
    made = sites("/a")
    made.freeze()

    for change in (
        lambda: made.add("/b"),
        lambda: made.mount("/b"),
        lambda: made.own("/b", "router"),
        lambda: made.freeze(),
    ):
        with pytest.raises(FrozenError):
            change()


def test_the_rules_can_be_listed_in_the_order_they_were_added():
    made = sites("/b", "/a").mount("/m").websocket("/w")

    assert [(rule.kind, rule.target) for rule in made.table.rules] == [
        ("http", "/b"),
        ("http", "/a"),
        ("mount", "/m"),
        ("websocket", "/w"),
    ]


# Against others

SEGMENTS = [
    "a",
    "b",
    "ab",
    "<{}>",
    "<int:{}>",
    "<int(signed=True):{}>",
    "<float:{}>",
    "<string(length=2):{}>",
    "<string(maxlength=3):{}>",
    "<any(a,b1):{}>",
    "a<{}>",
    "v<int:{}>",
    "<{}>.<{}>",
    "<int:{}>-<{}>",
    "<{}>-<{}>.a",
]
PATH_SEGMENTS = ["<path:{}>", "<path:{}>.a", "a<path:{}>"]
TEXTS = [
    "a",
    "b",
    "ab",
    "b1",
    "1",
    "12",
    "007",
    "-3",
    "1.5",
    "a-1",
    "1-a",
    "a.b",
    "a.b.c",
    "x-y.a",
    "v7",
    "av",
]


def named(rule):
    names = itertools.count()
    return re.sub(r"\{\}", lambda _: f"v{next(names)}", rule)


def rules_of(segments):
    return st.builds(
        lambda segments, slash: named("/" + "/".join(segments) + ("/" if segments and slash else "")),
        st.lists(st.sampled_from(segments), max_size=3),
        st.booleans(),
    )


def tables_of(segments):
    """Several rules with their methods and strictness."""
    methods = st.sampled_from(["GET", "POST", "GET POST"])
    return st.lists(st.tuples(rules_of(segments), methods, st.booleans()), min_size=1, max_size=7)


@st.composite
def tables_and_paths(draw, segments):
    """Rules, and paths that are near to what they match."""
    rules = draw(tables_of(segments))
    paths = []
    for rule, _, _ in draw(st.lists(st.sampled_from(rules), min_size=1, max_size=6)):
        parts = [
            re.sub("<[^>]*>", lambda _: draw(st.sampled_from(TEXTS)), part) if part or draw(st.booleans()) else part
            for part in rule.split("/")[1:]
        ]
        if draw(st.booleans()):
            parts[draw(st.integers(0, len(parts) - 1))] = draw(st.sampled_from([*TEXTS, "", "a/b", "a/", "/a"]))
        paths.append("/" + "/".join(parts) + draw(st.sampled_from(["", "", "/"])))
    return rules, paths


def accepted(rules):
    """Those rules of a list that a table takes together, each with its pattern."""
    made, kept = sites(), []
    for rule, methods, strict in rules:
        try:
            made.add(rule, methods, name=(rule, methods, strict), strict_slashes=strict)
        except SetupError:
            continue
        kept.append((parse_pattern(rule), (rule, methods, strict)))
    try:
        return made.freeze(), kept
    except SetupError:
        return made.table, []


def precedence(pattern, path):
    steps = [(0,) if segment.literal is not None else (1, segment.order) for segment in pattern.fixed]
    if pattern.tail is not None:
        steps.append((2, pattern.tail.order))
    return (steps, pattern.trailing_slash != path.endswith("/"))


def search_naively(kept, method, path):
    """Ask every rule alone, and take the best by precedence."""
    alone = [
        (pattern, sites(rule, methods=methods, strict_slashes=strict).freeze(), (rule, methods, strict))
        for pattern, (rule, methods, strict) in kept
    ]
    allow = set()
    merged = re.sub("/{2,}", "/", path)
    for asked in dict.fromkeys([path, merged]):
        found = []
        for pattern, table, target in alone:
            answer, values = ask(table, asked, method)
            if not isinstance(answer, Miss):
                found.append((precedence(pattern, asked), (target, values)))
            elif answer.kind == "add_slash":
                found.append((precedence(pattern, asked), ADD_SLASH))
            else:
                allow.update(answer.allow)
        if found:
            return min(found, key=lambda entry: entry[0])[1] if asked == path else MERGE_SLASHES
    return (Miss("method_not_allowed", "app", tuple(sorted(allow))), None) if allow else NOT_FOUND


@given(tables_and_paths(SEGMENTS + PATH_SEGMENTS), st.sampled_from(["GET", "HEAD", "POST", "PUT"]))
def test_many_rules_answer_as_the_best_of_them_alone(generated, method):
    rules, paths = generated
    table, kept = accepted(rules)

    for path in paths if kept else ():
        assert ask(table, path, method) == search_naively(kept, method, path)


def ask_werkzeug(adapter, path, method):
    """A match, where a redirect leads, or the methods of a path that does not match."""
    try:
        return adapter.match(path, method)
    except RequestRedirect as redirect:
        return redirect.new_url.removeprefix("http://h")
    except MethodNotAllowed as refusal:
        return set(refusal.valid_methods or ())
    except NotFound:
        return set()


@given(tables_and_paths(SEGMENTS), st.sampled_from(["GET", "HEAD", "POST", "PUT"]))
def test_werkzeug_gives_the_same_answers(generated, method):
    """Apart from what docs/explain/routing-differences.md lists."""
    rules, paths = generated
    table, kept = accepted(rules)
    # Rules that are equal to werkzeug are taken in their order there, so it gets ours.
    kept.sort(key=lambda entry: precedence(entry[0], "/"))
    adapter = Map(
        [
            WerkzeugRule(rule, endpoint=(rule, methods, strict), methods=methods.split(), strict_slashes=strict)
            for _, (rule, methods, strict) in kept
        ],
        redirect_defaults=False,
    ).bind("h")

    for path in paths if kept else ():
        if "//" in path:
            continue
        answer, values = ask(table, path, method)
        expected = ask_werkzeug(adapter, path, method)
        if isinstance(expected, str):
            assert answer.location(path, None) == expected
        elif isinstance(expected, set):
            assert answer.kind in ("not_found", "method_not_allowed")
            assert expected <= set(answer.allow)
        else:
            assert (answer, values or {}) == expected


@given(
    path=st.text("/ab1.%*é\0\ud800", max_size=8) | st.text(),
    raw_path=st.none() | st.binary(max_size=12) | st.text("/ab1%2Ff?", max_size=12).map(str.encode),
    method=st.sampled_from(["GET", "POST", "OPTIONS", ""]) | st.text(max_size=4),
    host=st.none() | st.sampled_from(["h.example", "a.h.example"]) | st.text(max_size=6),
)
def test_whatever_comes_in_there_is_an_answer(path, raw_path, method, host):
    made = sites("/", "/a", "/a/<int:n>", "/<x>/b/", "/<path:p>/1", "/<float:f>-<y>").mount("/b").websocket("/<x>")
    made.add("/h", host="<x>.h.example").add("/<y>", host="h.example").own("/a", "a")
    table = made.freeze()

    for target, values in (
        table.match(method, path, raw_path, host),
        table.match_websocket(path, raw_path, host),
    ):
        assert isinstance(target, str | Miss)
        assert values is None or isinstance(values, dict)


# What it costs


def count_steps(function):
    """The number of lines of Python that a call runs: what it costs, the same on every machine."""
    steps = 0

    def trace(frame, event, argument):
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    gc.disable()  # Others may have hooks in it.
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
        gc.enable()
    return steps


def realistic(count):
    resources = (f"{name}{number}" for number in itertools.count() for name in ("users", "teams", "orders"))
    made = sites("/users/<int:id>", "/api/v1/issues/<int:p>/comments/<int:i>", "/pages/<path:p>")
    while len(made.table.rules) < count:
        name = next(resources)
        made.add(f"/api/v1/{name}", "GET POST").add(f"/api/v1/{name}/<int:id>").add(f"/api/v1/{name}/<int:id>/<x>")
    return made.freeze()


@pytest.mark.slow
def test_matching_costs_the_same_with_ten_and_with_ten_thousand_routes():
    few, many = realistic(10), realistic(10_000)

    for path in (
        "/api/v1/users0",
        "/users/7",
        "/api/v1/issues/7/comments/8",
        "/pages/a/b",
        "/nothing/here",
        "/api/v1/users0/x",
        "//users/7",
    ):
        assert count_steps(lambda: ask(few, path)) == count_steps(lambda: ask(many, path))  # noqa: B023 - called at once


def test_a_thousand_rules_that_differ_in_front_of_a_variable_cost_as_much_as_ten():
    def make(count):
        made = sites(*(f"/item{number:03}.<format>" for number in range(count)), "/<int:n>", "/<a>-<b>")
        return made.own("/items", "shop").freeze()

    few, many = make(10), make(1000)

    for path in ("/item001.json", "/item001-x", "/7", "/none"):
        assert ask(few, path) == ask(many, path)
        assert count_steps(lambda: ask(few, path)) == count_steps(lambda: ask(many, path))  # noqa: B023 - called at once


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/", None),
        ("/users/7/", {"id": 7}),
        ("/users/7/cars", {"number": 7}),
        ("/users/ada/cars", {"name": "ada"}),
        ("/teams/a", {"x": "a"}),
        ("/teams/a/1.5", {"x": "a", "y": 1.5}),
        ("/pages/a/b", {"p": "a/b"}),
        ("/blog/a/b", None),
        ("/none", None),
        ("/teams/a/b", None),
    ],
)
def test_an_ordinary_request_is_answered_in_few_steps(path, values):
    made = sites("/", "/users/<int:id>/", "/users/<int:number>/cars", "/users/<name>/cars", "/pages/<path:p>")
    table = made.add("/teams/<x>").add("/teams/<x>/<float:y>").add("/teams/<z>", "POST").mount("/blog").freeze()

    assert ask(table, path)[1] == values
    for raw_path in (None, path.encode(), path.replace("a", "%61").encode()):
        assert count_steps(lambda: ask(table, path, raw_path=raw_path)) < 65  # noqa: B023 - called at once; a search comes on top


@pytest.mark.parametrize("part", ["/", "/a", "a", "1", "-", "a-", "/1-a/b", "%2F", "%ff", "é"])
def test_twice_the_path_costs_at_most_2_6_times(growth, part):
    table = sites("/<a>-<b>-<c>.x", "/<path:p>/<a>-<int:b>.x", "/<path:p>/<path:q>/z", "/<int:n>", "/z/").freeze()

    def match(raw_path):
        ask(table, unquote(raw_path.decode()), raw_path=raw_path)

    unit = quote(part, safe="/%").encode()
    assert growth(match, b"/x" + unit * 2000, b"/x" + unit * 4000) < 2.6


def test_a_thousand_ways_that_lead_nowhere_are_each_tried_once():
    table = sites(*(f"/<any(a,x{number}):v>/<int:n>/{number}" for number in range(1000))).freeze()

    assert count_steps(lambda: ask(table, "/a/7/none")) < 60_000


@pytest.mark.slow
def test_matching_leaves_nothing_for_the_garbage_collector():
    table = sites("/a", "/<int:n>", "/m/<a>-<int:b>-<c>.x", "/p/<path:p>.<x>", "/b/").own("/m", "m").freeze()
    paths = ("/a", "/7", "/x", "/m/a-b-7-c.x", "/m/a-b-c.x", "/p/a/b.c", "/b", "//a")
    for path in paths:
        ask(table, path, "PUT")
    gc.collect()

    gc.disable()
    try:
        for path, method in itertools.product(paths, ("GET", "PUT")):
            ask(table, path, method)
        assert gc.collect() == 0
    finally:
        gc.enable()
