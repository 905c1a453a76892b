"""What of a setting may be shown: in an error message, in a ``repr``, on a debug page.

Messages end up in logs and on screens that are shared, so a value that may be a secret is named by its type
only. The judgement is by name and by look and errs on the careful side; it protects what this framework
prints and is no defence against a program that prints its own secrets. Called by ``config``, ``settings`` and
whatever else tells of a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["HIDDEN", "NOT_SHOWN", "is_secret_name", "printable", "redacted", "shown"]

NOT_SHOWN = "(not shown)"
"""What ``shown`` ends with when it kept the value to itself."""

# Parts of names that people give to secrets. "PASS" covers password, passwd and passphrase.
SECRET_WORDS = ("SECRET", "PASS", "TOKEN", "KEY", "CREDENTIAL", "PRIVATE", "SIGNATURE", "DSN")
LONGEST_SHOWN = 80


class Hidden:
    """Stands where a secret was: the ``repr`` of it is ``<hidden>``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


HIDDEN = Hidden()


def is_secret_name(name: str) -> bool:
    """Tell whether what bears this name may be a secret.

    >>> (is_secret_name("SECRET_KEY"), is_secret_name("database.password"), is_secret_name("PORT"))
    (True, True, False)
    """
    upper = name.upper()
    return any(word in upper for word in SECRET_WORDS)


def is_secret_text(text: str) -> bool:
    """Tell whether a text looks as if it held a secret: a URL with a password in it, a connection string."""
    return ("://" in text and "@" in text) or is_secret_name(text)


def shown(name: str, value: Any) -> str:
    """Say what came under this name: value and type where that is harmless, else the type alone.

    >>> shown("PORT", "eighty")
    "'eighty' (str)"
    >>> shown("SECRET_KEY", "hunter2")
    'a value of type str (not shown)'
    """
    # SECURITY(test_the_value_of_a_secret_is_never_in_a_message): only the plainest types are looked into, for
    # a dict, a struct or bytes may hold anything.
    if value is None:
        return "None"
    kind = type(value).__name__
    if type(value) not in (str, int, float, bool) or is_secret_name(name):
        return f"a value of type {kind} {NOT_SHOWN}"
    if isinstance(value, str):
        if is_secret_text(value):
            return f"a value of type {kind} {NOT_SHOWN}"
        if len(value) > LONGEST_SHOWN:
            return f"{value[:LONGEST_SHOWN]!r}... ({kind}, {len(value)} characters)"
    elif isinstance(value, int) and value.bit_length() > LONGEST_SHOWN:
        # Writing out an int takes time that grows with the square of its length.
        return f"a number of {value.bit_length()} bits ({kind})"
    return f"{value!r} ({kind})"


def redacted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy for showing, in which secrets are replaced, in dicts, lists and tuples inside it too.

    >>> redacted({"DEBUG": True, "DATABASES": [{"host": "db1", "password": "hunter2"}]})
    {'DEBUG': True, 'DATABASES': [{'host': 'db1', 'password': <hidden>}]}
    """
    return redacted_mapping(values, {})


def redacted_mapping(values: Mapping[str, Any], copies: dict[int, tuple[Any, Any]]) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    copies[id(values)] = (values, copy)  # Known before it is filled, since it may hold itself.
    for name, value in values.items():
        copy[name] = HIDDEN if value is not None and is_secret_name(str(name)) else redacted_value(value, copies)
    return copy


def redacted_value(value: Any, copies: dict[int, tuple[Any, Any]]) -> Any:
    """``value`` for showing; ``copies`` has the containers met so far by their ids, each with its copy."""
    if isinstance(value, str):
        return HIDDEN if is_secret_text(value) else value
    if id(value) in copies:
        return copies[id(value)][1]
    if isinstance(value, Mapping):
        return redacted_mapping(value, copies)
    # Not their subclasses: a named tuple is made in another way.
    if type(value) not in (list, tuple):
        return value
    copy: list[Any] = []
    if type(value) is list:  # A tuple can hold itself only by way of a list or a dict.
        copies[id(value)] = (value, copy)
    copy += [redacted_value(inner, copies) for inner in value]
    if type(value) is list:
        return copy
    whole = tuple(copy)
    copies[id(value)] = (value, whole)
    return whole


def printable(text: str) -> str:
    """``text`` with everything escaped that could begin a new line in a log."""
    # SECURITY: test_a_log_line_stays_one_line
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
