import string
from pathlib import PurePosixPath, PureWindowsPath

import pytest
import werkzeug.utils
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.security import safe_join

from microweb.filenames import secure_filename, split_filename

names = st.text(st.sampled_from("ab.~-_ :/\\\0é\u212b\ud800CONcon1"), max_size=20)


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "..",
        "css/../../secret",
        "css/..",
        "/etc/passwd",
        "//etc/passwd",
        "css//site.css",
        "./site.css",
        "css/.",
        "site.css/",
        "",
        "C:\\windows\\win.ini",
        "\\\\host\\share",
        "..\\secret",
        "site.css\0.png",
        "caf\ud800",
    ],
)
def test_a_name_that_could_lead_out_of_its_folder_has_no_segments(name):
    assert split_filename(name, windows=False) is None
    assert split_filename(name, windows=True) is None


@pytest.mark.parametrize(
    "name",
    [
        "C:/x",
        "c:x",
        "CON",
        "css/con.css",
        "Aux.tar.gz",
        "nul .txt",
        "COM1",
        "lpt¹.x",
        "conin$",
        "a.txt:stream",
        "a.py.",
        "a.py ",
    ],
)
def test_drives_streams_and_devices_are_refused_on_windows_only(name):
    assert split_filename(name, windows=True) is None
    assert split_filename(name, windows=False) == name.split("/")


@pytest.mark.parametrize(
    "name", ["site.css", "css/site.css", ".env", "..a", "a..", "100%", "%2e%2e", "über.txt", "console.js"]
)
def test_an_ordinary_name_is_split_at_its_slashes(name):
    assert split_filename(name, windows=False) == name.split("/")


@given(names)
def test_what_has_segments_stays_in_its_folder(name):
    segments = split_filename(name, windows=False)

    if segments is not None:
        joined = PurePosixPath("/srv/files", *segments)
        assert ".." not in joined.parts
        assert joined.parts[:3] == ("/", "srv", "files")
        assert joined.parts[3:] == tuple(segments)


@given(names)
def test_what_has_segments_stays_in_its_folder_on_windows(name):
    segments = split_filename(name, windows=True)

    if segments is not None:
        joined = PureWindowsPath("D:/srv", *segments)
        assert ".." not in joined.parts
        assert joined.parts == ("D:\\", "srv", *segments)


@given(names)
def test_werkzeug_joins_whatever_has_segments(name):
    segments = split_filename(name, windows=False)

    if segments is not None:
        assert safe_join("/srv", name) == "/srv/" + "/".join(segments)


@given(names | st.text(max_size=30))
def test_a_secure_name_is_werkzeugs(name):
    assert secure_filename(name, windows=False) == werkzeug.utils.secure_filename(name)


@given(names | st.text(max_size=30), st.booleans())
def test_a_secure_name_is_one_plain_segment(name, windows):
    secured = secure_filename(name, windows=windows)

    assert set(secured) <= set(string.ascii_letters + string.digits + "._-")
    assert secured == "" or split_filename(secured, windows=windows) == [secured]


@pytest.mark.parametrize(
    ("name", "secured"),
    [
        ("My cool movie.mov", "My_cool_movie.mov"),
        ("../../../etc/passwd", "etc_passwd"),
        ("i contain cool \xfcml\xe4uts.txt", "i_contain_cool_umlauts.txt"),
        ("__filename__", "filename"),
        ("foo$&^*)bar", "foobar"),
        ("..", ""),
    ],
)
def test_a_secure_name_keeps_what_it_can(name, secured):
    assert secure_filename(name, windows=False) == secured


@pytest.mark.parametrize(("name", "secured"), [("C:\\x\\y.txt", "C_x_y.txt"), ("CON", "_CON"), ("aux.txt", "_aux.txt")])
def test_a_secure_name_is_neither_path_nor_device_on_windows(name, secured):
    assert secure_filename(name, windows=True) == secured
