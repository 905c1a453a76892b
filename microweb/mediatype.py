"""Media types: a value and its parameters, between text and a dict.

Called by ``requests`` (content type), ``responses`` and ``files`` (Content-Disposition), ``forms`` (boundary) and
``accept``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from microweb.grammar import Grammar

__all__ = ["dump_options", "parse_media_type", "with_charset"]

# RFC 9110 §5.6.6: parameter = token "=" ( token / quoted-string ).
# SECURITY: test_parsing_takes_linear_time. The repeats are possessive, nothing is tried twice.
_NAME = Grammar(r"[ \t]*+([\w!#$%&'*+\-.^`|~]++)=", re.ASCII)
_TOKEN = Grammar(r"[\w!#$%&'*+\-.^`|~]++", re.ASCII)
_TOKEN_OR_TYPE = Grammar(r"[\w!#$%&'*+\-.^`|~]++(?:/[\w!#$%&'*+\-.^`|~]++)?", re.ASCII)
_QUOTED = Grammar(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ESCAPED = Grammar(r"\\(.)")
# RFC 8187 §3.2: charset "'" [ language ] "'" value
_EXTENDED = Grammar(r"([\w!#$%&*+\-.^`|~]*+)'[\w!#$%&*+\-.^`|~]*+'([\w!#$%&'*+\-.^`|~]++)", re.ASCII)
_CHARSETS = frozenset(("ascii", "us-ascii", "utf-8", "iso-8859-1"))
# RFC 8187 §3.2.1: attr-char, beside letters and digits
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"


def parse_media_type(value: str) -> tuple[str, dict[str, str]]:
    """Split ``Content-Type``, ``Content-Disposition`` and the like into value (lower case) and parameters.

    Parameter names are in lower case too, their values unquoted. ``name*`` with a charset and the pieces
    ``name*0``, ``name*1`` come out as ``name`` (RFC 2231, RFC 8187). As in werkzeug, an invalid parameter is
    skipped, of a repeated one the last counts, and ``%22`` is a quote (browsers write it in forms). Never
    raises.

    >>> parse_media_type('Text/HTML; Charset="utf-8"')
    ('text/html', {'charset': 'utf-8'})
    """
    value, _, rest = value.partition(";")
    value = value.strip(" \t").lower()
    if not value or not rest:
        return value, {}
    return value, _parse_parameters(rest)


def _find_parameters(text: str) -> Iterator[tuple[str, str]]:
    """Names and raw values; a quote that is never closed ends it all."""
    position = 0
    while True:
        name = _NAME.match(text, position)
        if name is not None:
            position = name.end()
            is_quoted = text.startswith('"', position)
            value = (_QUOTED if is_quoted else _TOKEN).match(text, position)
            if value is not None:
                position = value.end()
                yield name[1].lower(), value[0]
            elif is_quoted:
                return
        position = text.find(";", position) + 1
        if position == 0:
            return


def _parse_parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    pieces: dict[str, list[str]] = {}
    charsets: dict[str, str] = {}
    for name, value in _find_parameters(text):
        is_extended = name.endswith("*")
        name = name.removesuffix("*")
        whole, star, number = name.rpartition("*")
        is_piece = star == "*" and number.isdigit()
        if is_piece:
            name = whole

        if is_extended:
            charset = ""
            extended = _EXTENDED.fullmatch(value)
            if extended is not None:
                charset, value = extended[1].lower(), extended[2]
            if is_piece:
                # Only the first piece has to name the charset (RFC 2231 §4.1).
                charset = charsets[name] = charset or charsets.get(name, "")
            if charset in _CHARSETS:
                from urllib.parse import unquote

                value = unquote(value, charset, "replace")
        else:
            if value.startswith('"'):
                value = _ESCAPED.sub(r"\1", value[1:-1])
            value = value.replace("%22", '"')

        if is_piece:
            pieces.setdefault(name, []).append(value)
        else:
            pieces.pop(name, None)
            charsets.pop(name, None)
            parameters[name] = value
    for name, values in pieces.items():
        parameters[name] = "".join(values)
    return parameters


def dump_options(value: str, parameters: Mapping[str, str | int | None]) -> str:
    """A header value with parameters, each written so that any text arrives; None leaves one out.

    Text beyond printable ASCII is written as ``name*`` in UTF-8 (RFC 8187). A ``filename`` then also gets a
    plain form, for clients that know no other (RFC 6266 appendix D).

    >>> print(dump_options("attachment", {"filename": "naïve.txt"}))
    attachment; filename=naive.txt; filename*=UTF-8''na%C3%AFve.txt

    Raises:
        ValueError: ``value`` is neither a token nor a media type, or the name of a parameter is no token or
            ends in an asterisk.
    """
    # SECURITY: test_nothing_given_to_a_parameter_can_end_it
    if _TOKEN_OR_TYPE.fullmatch(value) is None:
        raise ValueError(f"expected a token or a media type, not {value!r}")
    parts = [value]
    for name, given in parameters.items():
        if _TOKEN.fullmatch(name) is None or name.endswith("*"):
            raise ValueError(f"a parameter's name is a token without an asterisk at its end, not {name!r}")
        if given is None:
            continue
        text = plain = str(given)
        is_filename = name == "filename"
        if not (text.isascii() and text.isprintable()):
            plain = _fall_back_to_ascii(text) if is_filename else ""
        if plain or not text:
            parts.append(f"{name}={_quote(plain)}")
        # Some browsers decode %XX in a plain file name, so that one needs the extended form as well.
        if plain != text or (is_filename and "%" in text):
            from urllib.parse import quote

            parts.append(f"{name}*=UTF-8''{quote(text, _ATTRIBUTE_CHARACTERS, 'utf-8', 'replace')}")
    return "; ".join(parts)


def _quote(text: str) -> str:
    if _TOKEN.fullmatch(text) is not None:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _fall_back_to_ascii(text: str) -> str:
    from unicodedata import normalize

    letters = normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return "".join(letter for letter in letters if letter.isprintable())


def with_charset(media_type: str) -> str:
    """``media_type`` with UTF-8 where it is text and says nothing; XML says it in itself (RFC 7303 §3)."""
    if media_type.startswith("text/") and ";" not in media_type and media_type != "text/xml":
        return f"{media_type}; charset=utf-8"
    return media_type
