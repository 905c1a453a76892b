"""Paths as segments: what is split, decoded and cut, where the raw path and the path say different things."""

import pytest

from microweb.segments import is_absolute, merge_slashes, split_mount, split_path


@pytest.mark.parametrize(
    ("segments", "path", "raw_path", "parts"),
    [
        (1, "/api/x/y", b"/api/x/y", ("/api", "/x/y", b"/x/y")),
        (1, "/api/x/y", b"/api/x%2Fy", ("/api", "/x/y", b"/x%2Fy")),
        (1, "/a/b/x", b"/a%2Fb/x", ("/a/b", "/x", b"/x")),
        (2, "/a/b/x", None, ("/a/b", "/x", None)),
        (1, "/a/b/x/y", None, ("/a", "/b/x/y", None)),
        (2, "/a/b", None, ("/a/b", "", None)),
        (1, "/api", b"/api", ("/api", "", b"")),
        (1, "/api/", b"/api/", ("/api", "/", b"/")),
        (0, "/api/é", b"/api/%C3%A9", ("", "/api/é", b"/api/%C3%A9")),
        (1, "/new/é", b"/old/x", ("/new", "/é", b"/%C3%A9")),
    ],
)
def test_a_path_is_cut_where_the_mount_ends(segments, path, raw_path, parts):
    assert split_mount(segments, path, raw_path) == parts


@pytest.mark.parametrize(
    ("path", "raw_path", "segments"),
    [
        ("/a/b", None, ["", "a", "b"]),
        ("/a/b/", b"/a/b/", ["", "a", "b", ""]),
        ("/a/b", b"/a%2Fb", ["", "a/b"]),
        ("/a/b", b"/a%2fb?c=%2F", ["", "a/b"]),
        ("/é", b"/%C3%A9", ["", "é"]),
        ("/new", b"/o%6Cd", ["", "new"]),
    ],
)
def test_a_path_is_split_before_it_is_decoded(path, raw_path, segments):
    assert split_path(path, raw_path) == (segments, True)


@pytest.mark.parametrize(
    ("path", "raw_path", "is_utf8"),
    [("/\ufffd", b"/%FF", False), ("/\ufffd", b"/%ef%bf%bd", True), ("/\ufffd\ufffd", b"/%EF%BF%BD%FF", False)],
)
def test_escapes_that_are_no_utf_8_are_told_from_the_replacement_character_itself(path, raw_path, is_utf8):
    assert split_path(path, raw_path)[1] is is_utf8


@pytest.mark.parametrize(
    ("path", "merged"), [("/a", "/a"), ("//a///b//", "/a/b/"), ("//", "/"), ("/", "/"), ("a//b", "a/b"), ("", "")]
)
def test_empty_segments_go_but_for_the_first_and_the_last(path, merged):
    assert "/".join(merge_slashes(path.split("/"))) == merged


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("http://a.example/b", True),
        ("HTTPS://a.example", True),
        ("ftp://a.example/b", False),
        ("http:/a/b", False),
        ("http:", False),
        ("/http://a.example/b", False),
    ],
)
def test_a_whole_url_is_told_from_a_path(path, answer):
    assert is_absolute(path.split("/")) is answer
