"""Media types and what a client accepts: values with parameters, the Accept headers, types by file name.

Only words are compared here; which representation is sent is decided by the caller. Called by ``requests``
(content type, accept), ``responses`` and ``files`` (Content-Disposition, types by name), ``forms``
(boundary), ``errorhandlers`` (HTML or problem+json) and the compressing middleware.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar, overload

from microweb.grammar import Grammar

__all__ = [
    "Accept",
    "AcceptEncoding",
    "AcceptLanguage",
    "AcceptPlain",
    "dump_options",
    "guess_content_type",
    "parse_media_type",
    "with_charset",
]

# Values with parameters --------------------------------------------------------------------------

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
            parameters.pop(name, None)
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
        is_filename = name.lower() == "filename"
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


# What a client accepts ---------------------------------------------------------------------------

# The items of a list (RFC 9110 §5.6.1). A quote that is never closed takes the rest, so that each
# character is looked at once.
_ITEM = Grammar(r'(?:[^",]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|".*+)+', re.DOTALL)
# RFC 9110 §12.4.2; beyond it more than three decimals, and none before the point: Java's client sends q=.2
_WEIGHT = Grammar(r"0?\.[0-9]++|0\.?|1(?:\.0*+)?")

D = TypeVar("D")


_Parameters: TypeAlias = frozenset[tuple[str, str]]


class _Range(NamedTuple):
    value: str
    parameters: _Parameters
    quality: float


class _Match(NamedTuple):
    """How a range holds a candidate. The greatest match of a candidate is the one that counts."""

    specificity: tuple[int, int]
    quality: float


def _find_items(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Value, parameters and quality of each valid item."""
    for item in _ITEM.findall(header) if '"' in header else header.split(","):
        value, parameters = parse_media_type(item)
        weight = parameters.pop("q", "1").strip(" \t")
        if value and _WEIGHT.fullmatch(weight) is not None:
            yield value, parameters, float(weight[:8])


def _lower(parameters: dict[str, str]) -> _Parameters:
    return frozenset((name, text.lower()) for name, text in parameters.items()) if parameters else frozenset()


class AcceptPlain:
    """What a client accepts of things that have plain names: the ``Accept-Charset`` header.

    A header that is missing or has no valid item accepts everything; an item with an invalid weight does
    not count. Upper and lower case are the same. ``in`` is true of what has a quality above 0.

    >>> charsets = AcceptPlain("utf-8, iso-8859-1;q=0.5, *;q=0.1")
    >>> charsets.best(["latin-9", "iso-8859-1"]), charsets.quality("UTF-8"), charsets.values()
    ('iso-8859-1', 1.0, ['utf-8', 'iso-8859-1', '*'])
    """

    __slots__ = ("_header", "_ranges")

    _everything: ClassVar[tuple[str, ...]] = ("*",)
    """What a header without items stands for."""

    def __init__(self, header: str | None = None) -> None:
        self._header = header
        self._ranges: list[_Range] = []
        for value, parameters, quality in _find_items(header or ""):
            name = self._normalize(value)
            if name is not None:
                self._ranges.append(_Range(name, _lower(parameters), quality))
        if not self._ranges:
            self._ranges = [_Range(value, frozenset(), 1.0) for value in self._everything]

    def _normalize(self, value: str) -> str | None:
        """The name to compare by; None for one that is invalid."""
        return value

    def _find_match(self, candidate: str) -> _Match | None:
        name = self._normalize(candidate.lower())
        return max(
            (
                _Match((int(value != "*"), 0), quality)
                for value, _, quality in self._ranges
                if value == name or value == "*"
            ),
            default=None,
        )

    def quality(self, candidate: str) -> float:
        """How much ``candidate`` is wanted, from 1 down to 0, which is not at all."""
        match = self._find_match(candidate)
        return 0.0 if match is None else match.quality

    def __contains__(self, candidate: str) -> bool:
        return self.quality(candidate) > 0

    @overload
    def best(self, candidates: Iterable[str]) -> str | None: ...
    @overload
    def best(self, candidates: Iterable[str], default: D) -> str | D: ...
    def best(self, candidates: Iterable[str], default: D | None = None) -> str | D | None:
        """The candidate that is wanted most; ``default`` if all are unacceptable.

        Of those wanted equally, it is the one that the client names most precisely, then the first.
        """
        best: str | D | None = default
        highest: tuple[float, tuple[int, int]] = (0.0, (2, 0))
        for candidate in candidates:
            match = self._find_match(candidate)
            if match is not None and (match.quality, match.specificity) > highest:
                best, highest = candidate, (match.quality, match.specificity)
        return best

    def values(self) -> list[str]:
        """What the header names as acceptable, lower case, without parameters, the most wanted first."""
        wanted = sorted(self._ranges, key=lambda each: each.quality, reverse=True)
        return [each.value for each in wanted if each.quality > 0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._header!r})"


class AcceptEncoding(AcceptPlain):
    """Which content codings a client accepts (RFC 9110 §12.5.3).

    Without the header only ``identity`` is accepted: the RFC would allow any coding then, but clients that
    send none cannot decode any. An ``identity`` that is not named is the last resort, unless ``*`` excludes
    it.

    >>> AcceptEncoding("gzip;q=0.5, br").best(["identity", "zstd", "gzip", "br"])
    'br'
    """

    __slots__ = ()

    _everything = ()

    def _normalize(self, value: str) -> str | None:
        # RFC 9110 §8.4.1: the old names mean the same
        return value.removeprefix("x-") if value in ("x-gzip", "x-compress") else value

    def _find_match(self, candidate: str) -> _Match | None:
        match = super()._find_match(candidate)
        if match is None and candidate.lower() == "identity":
            return _Match((0, 0), 0.001)
        return match


class AcceptLanguage(AcceptPlain):
    """Which languages a client accepts (RFC 9110 §12.5.4); ``en_US`` is ``en-US``.

    Whole tags are compared. Only ``best`` falls back to primary tags, as werkzeug's does: first to those of
    the client ("en-US" is content with "en"), then to those of the candidates ("en" with "en-US").

    >>> AcceptLanguage("de-AT, en;q=0.5").best(["fr", "de"])
    'de'
    """

    __slots__ = ()

    def _normalize(self, value: str) -> str | None:
        return value.replace("_", "-")

    @overload
    def best(self, candidates: Iterable[str]) -> str | None: ...
    @overload
    def best(self, candidates: Iterable[str], default: D) -> str | D: ...
    def best(self, candidates: Iterable[str], default: D | None = None) -> str | D | None:
        """The candidate that is wanted most, if need be by its primary tag; ``default`` if there is none."""
        offered = list(candidates)
        found = super().best(offered)
        if found is not None:
            return found
        primary = AcceptLanguage()
        primary._ranges = [each._replace(value=each.value.partition("-")[0]) for each in self._ranges]
        found = super(AcceptLanguage, primary).best(offered)
        if found is not None:
            return found
        by_primary: dict[str, str] = {}
        for candidate in offered:
            by_primary.setdefault(candidate.replace("_", "-").partition("-")[0], candidate)
        found = super().best(by_primary)
        return default if found is None else by_primary[found]


class Accept(AcceptPlain):
    """Which media types a client accepts (RFC 9110 §12.5.1).

    What it says of ``type/subtype`` counts before ``type/*``, and that before ``*/*``. A range with
    parameters holds only candidates that have them too, and counts before the range without. The parameter
    ``charset`` is not asked for where the candidate names none: JSON has no such parameter, yet clients
    send it.

    >>> accept = Accept("text/html, application/json;q=0.9, */*;q=0.1")
    >>> accept.best(["application/json", "text/html"]), accept.quality("image/png")
    ('text/html', 0.1)
    """

    __slots__ = ()

    _everything = ("*/*",)

    def _normalize(self, value: str) -> str | None:
        if "/" in value:
            return value
        # Java's client sends a lone asterisk.
        return "*/*" if value == "*" else None

    def _find_match(self, candidate: str) -> _Match | None:
        media_type, parameters = parse_media_type(candidate)
        exactness = {"*/*": 0, media_type.partition("/")[0] + "/*": 1, media_type: 2}
        given = _lower(parameters)
        best: _Match | None = None
        for value, wanted, quality in self._ranges:
            if value not in exactness:
                continue
            if not wanted <= given:
                missing = {name for name, _ in wanted - given}
                if missing != {"charset"} or "charset" in parameters:
                    continue
            match = _Match((exactness[value], len(wanted)), quality)
            if best is None or match > best:
                best = match
        return best


# Types by file name ------------------------------------------------------------------------------

# What the web serves, so that few programs load the standard library's table, which is also
# different on each system. Types are IANA's.
_TYPES = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "apng": "image/apng",
    "avif": "image/avif",
    "bin": "application/octet-stream",
    "bmp": "image/bmp",
    "css": "text/css",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "m4a": "audio/mp4",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/opus",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "toml": "application/toml",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "text/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
}
_ENCODINGS = {"br": "br", "bz2": "bzip2", "gz": "gzip", "xz": "xz", "zst": "zstd"}


def guess_content_type(filename: str) -> tuple[str | None, str | None]:
    """The media type and the content coding that a file's name speaks for, each None if it names none.

    Only the ends of the last path segment count, in any case.

    >>> guess_content_type("report.csv"), guess_content_type("backup/site.TAR.gz")
    (('text/csv', None), ('application/x-tar', 'gzip'))
    """
    stem, ending = _split_ending(filename)
    encoding = _ENCODINGS.get(ending)
    if encoding is not None:
        _, ending = _split_ending(stem)
    if not ending:
        return None, encoding
    known = _TYPES.get(ending)
    if known is not None:
        return known, encoding
    from mimetypes import guess_type

    # Only the ending is asked for: a whole name is taken for a URL, and "data:text/html,x.foo" for HTML.
    media_type, short = guess_type("x." + ending)
    return media_type, encoding or short


def with_charset(media_type: str) -> str:
    """``media_type`` with UTF-8 where it is text and says nothing; XML says it in itself (RFC 7303 §3)."""
    if media_type.startswith("text/") and ";" not in media_type and media_type != "text/xml":
        return f"{media_type}; charset=utf-8"
    return media_type


def _split_ending(filename: str) -> tuple[str, str]:
    name = filename.replace("\\", "/").rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    # As os.path.splitext: the dots that a hidden file's name begins with separate nothing.
    return (stem, ending.lower()) if stem.strip(".") else (name, "")
