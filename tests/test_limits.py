"""Tests of ``microweb.limits``: the framework's keys, the figures read from them, the page that explains them."""

import doctest
import typing
from datetime import timedelta
from pathlib import Path

import pytest

import microweb.limits
from microweb.errors import SetupError
from microweb.limits import DEFAULTS, FIGURES, Limits

PAGE = Path(__file__).parent.parent / "docs" / "howto" / "configuration.md"


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(microweb.limits).failed == 0


# The figures


def test_without_settings_the_limits_are_the_promised_ones():
    limits = Limits.of({})

    assert limits == Limits.of(DEFAULTS)
    assert limits.max_content_length == 16 * 1024 * 1024
    assert (limits.max_form_memory_size, limits.max_form_parts, limits.max_form_files) == (500_000, 1000, 100)
    assert (limits.max_part_headers, limits.max_part_header_size, limits.max_boundary_size) == (8, 4224, 70)
    assert (limits.max_headers, limits.max_header_size, limits.max_headers_size) == (100, 8190, 32 * 1024)
    assert (limits.max_url_length, limits.max_query_parameters, limits.max_ranges) == (8 * 1024, 1000, 16)
    assert (limits.json_max_depth, limits.upload_spool_size, DEFAULTS["MAX_COOKIE_SIZE"]) == (64, 1024 * 1024, 4093)
    assert (limits.body_timeout, limits.graceful_timeout, limits.background_timeout) == (30.0, 15.0, 5.0)
    assert (limits.sync_threads, limits.websocket_max_message) == (40, 1024 * 1024)


def test_every_figure_has_a_typed_field_and_the_other_way_round():
    annotated = typing.get_type_hints(Limits)

    assert [name.lower() for name in FIGURES] == list(annotated) == list(Limits.__slots__)


def test_every_field_has_the_type_that_it_is_annotated_with():
    limits = Limits.of({"TRUSTED_HOSTS": ["a"], "WEBSOCKET_ORIGINS": ["*"], "SEND_FILE_MAX_AGE_DEFAULT": 5})

    for name, annotation in typing.get_type_hints(Limits).items():
        kinds = [typing.get_origin(kind) or kind for kind in typing.get_args(annotation) or (annotation,)]
        assert type(getattr(limits, name)) in kinds, name


def test_limits_cannot_be_changed():
    limits = Limits.of({})

    with pytest.raises(AttributeError, match=r"set MAX_RANGES in app\.config"):
        limits.max_ranges = 5
    with pytest.raises(AttributeError, match="do not change"):
        del limits.max_ranges
    with pytest.raises(AttributeError):
        limits.max_nothing = 5  # type: ignore[attr-defined]


def test_limits_with_the_same_figures_are_equal():
    limits = Limits.of({})

    assert limits == limits.replace(max_ranges=16)
    assert hash(limits) == hash(limits.replace(max_ranges=16))
    assert limits != limits.replace(max_ranges=17)
    assert limits != "limits"
    assert "max_ranges=16" in repr(limits)


def test_replace_leaves_the_original_alone():
    limits = Limits.of({})

    other = limits.replace(max_content_length=None, body_timeout=timedelta(minutes=1))

    assert (other.max_content_length, other.body_timeout) == (None, 60.0)
    assert (limits.max_content_length, limits.body_timeout) == (16 * 1024 * 1024, 30.0)


def test_replace_checks_as_the_config_is_checked():
    limits = Limits.of({})

    with pytest.raises(SetupError, match=r"max_content_length: expected a whole number .*; came '1M' \(str\)"):
        limits.replace(max_content_length="1M")
    with pytest.raises(SetupError, match="no limit called 'max_contents'; there are max_headers, "):
        limits.replace(max_contents=1)
    with pytest.raises(SetupError, match="no limit called 'secret_key'"):
        limits.replace(secret_key="x")


# What is wrong


def test_all_wrong_keys_are_reported_at_once():
    with pytest.raises(SetupError) as caught:
        Limits.of({"DEBUG": "no", "MAX_RANGES": -1, "BODY_TIMEOUT": "30s", "OWN": object()})

    assert str(caught.value).splitlines() == [
        "app.config is wrong:",
        "  DEBUG: expected True or False; came 'no' (str)",
        "  MAX_RANGES: expected a whole number of ranges, 1 or more; came -1 (int)",
        "  BODY_TIMEOUT: expected seconds (a number or a timedelta), more than 0, or None (wait for ever); "
        "came '30s' (str)",
    ]


def test_a_wrong_secret_is_not_shown():
    with pytest.raises(SetupError, match=r"SECRET_KEY_FALLBACKS: .*not shown") as caught:
        Limits.of({"SECRET_KEY_FALLBACKS": "hunter2"})

    assert "hunter2" not in str(caught.value)


# The page


def rows() -> dict[str, list[str]]:
    """The rows of the page's tables of keys, by key: type, default, meaning, who else uses it."""
    table: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and cells[0].strip("`") in DEFAULTS:
            assert cells[0] not in table, f"{cells[0]} is explained twice"
            table[cells[0].strip("`")] = cells[1:]
    return table


def test_the_page_explains_every_key_and_no_other():
    assert sorted(rows()) == sorted(DEFAULTS)
    assert {len(cells) for cells in rows().values()} == {4}


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_the_default_on_the_page_is_the_default(key: str):
    written = rows()[key][1].strip("`")

    assert eval(written, {"timedelta": timedelta}) == DEFAULTS[key]
