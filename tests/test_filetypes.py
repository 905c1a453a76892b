import mimetypes

import pytest

from microweb.filetypes import guess_content_type


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("index.html", ("text/html", None)),
        ("a/b.c/STYLE.CSS", ("text/css", None)),
        ("app.js", ("text/javascript", None)),
        ("site.tar.gz", ("application/x-tar", "gzip")),
        ("app.js.br", ("text/javascript", "br")),
        ("data.gz", (None, "gzip")),
        ("data.unheard-of.zst", (None, "zstd")),
        ("LICENSE", (None, None)),
        (".html", (None, None)),
        ("..html", (None, None)),
        ("a/.gz", (None, None)),
        ("a.html/b", (None, None)),
        ("C:\\x.html\\b", (None, None)),
        ("a.", (None, None)),
        ("", (None, None)),
        ("data:text/html,x.unheard-of", (None, None)),
    ],
)
def test_a_type_is_guessed_by_the_end_of_the_name(filename, expected):
    assert guess_content_type(filename) == expected


def test_a_rarer_type_comes_from_the_standard_library():
    assert guess_content_type("a.sh") == mimetypes.guess_type("a.sh")
    assert guess_content_type("a.tgz") == ("application/x-tar", "gzip")
    assert guess_content_type("a.sh.gz") == mimetypes.guess_type("a.sh.gz")


@pytest.mark.parametrize(
    "ending", ["avi", "css", "csv", "gif", "html", "jpg", "json", "mp4", "pdf", "png", "svg", "txt"]
)
def test_common_types_are_those_of_the_standard_library(ending):
    builtin = mimetypes.MimeTypes(filenames=())

    assert guess_content_type("a." + ending) == builtin.guess_type("a." + ending)
