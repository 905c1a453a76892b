"""Representations: in which media types the values of views are written, and JSON's place taken by the client's choice.

A router's ``representations`` say what there is beside JSON. ``composition.py`` makes a ``Negotiation`` of those of a
view's routers, and only where there are any: its ``answer`` turns a view's value into a response in the type that the
``Accept`` header prefers, its ``read`` turns a body of another type than JSON into plain values for the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

from microweb import json
from microweb.accept import Accept
from microweb.conversion import is_struct, to_response
from microweb.errors import BadRequest, NotAcceptable, UnsupportedMediaType
from microweb.incoming import Incoming
from microweb.mediatype import parse_media_type
from microweb.responses import Response

__all__ = ["MessagePack", "Negotiation", "Representation", "Representations"]

JSON = "application/json"

Write = Callable[[Any], bytes | str]
Read = Callable[[bytes], Any]


class Representation:
    """How values are written in one media type, and how a body of that type is read, if it can be.

    ``write`` gets what the view returned: a dict, a list, a struct. ``read`` gives plain values (dicts, lists,
    texts, numbers) and raises ``ValueError`` for bytes that it cannot read.

    >>> import plistlib
    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.representations["application/x-plist"] = Representation(plistlib.dumps, plistlib.loads)
    """

    __slots__ = ("read", "write")

    def __init__(self, write: Write, read: Read | None = None) -> None:
        self.write = write
        self.read = read


class MessagePack(Representation):
    """MessagePack, written and read by msgspec: the types are those of JSON, and bytes and times as they are.

    What it has no room for is written as text: whole numbers beyond 64 bits, and times that in UTC lie outside the
    years 1 to 9999.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.representations["application/msgpack"] = MessagePack()
    """

    __slots__ = ()

    def __init__(self) -> None:
        import msgspec

        encode = msgspec.msgpack.Encoder(enc_hook=json.encode_unknown).encode

        def write(value: Any) -> bytes:
            try:
                return encode(value)
            except OverflowError:
                # SECURITY: test_what_messagepack_has_no_room_for_is_sent_as_text: a client may have sent it.
                return encode(spell_out(value, encode))

        super().__init__(write, msgspec.msgpack.Decoder(ext_hook=refuse_extension).decode)


class Representations(MutableMapping[str, Representation]):
    """The media types of a router beside JSON, each with its ``Representation`` or the function that writes it.

    JSON comes first, unless ``"application/json"`` is given a place here. With ``strict`` a client that accepts
    none of them is answered 406; otherwise it gets the first.
    """

    def __init__(self, changed: Callable[[str], None], refuse: Callable[[str], Exception]) -> None:
        self._changed = changed
        self._refuse = refuse
        self._known: dict[str, Representation] = {}
        self._strict = False

    @property
    def strict(self) -> bool:
        """Whether a client that accepts none of these types is refused with a 406."""
        return self._strict

    @strict.setter
    def strict(self, value: bool) -> None:
        self._changed("change the representations")
        self._strict = value

    def __setitem__(self, media_type: str, representation: Representation | Write) -> None:
        self._changed(f"add the representation {media_type!r}")
        kind, parameters = parse_media_type(media_type)
        if kind.count("/") != 1 or "*" in kind or parameters:
            raise self._refuse(f"a representation has a media type such as 'application/msgpack', not {media_type!r}")
        if not isinstance(representation, Representation):
            if isinstance(representation, type) or not callable(representation):
                raise self._refuse(
                    f"the representation {media_type!r} is a function that writes it or a Representation(write, read), "
                    f"not {representation!r}"
                )
            representation = Representation(representation)
        self._known[kind] = representation

    def __getitem__(self, media_type: str) -> Representation:
        return self._known[media_type]

    def __delitem__(self, media_type: str) -> None:
        self._changed(f"remove the representation {media_type!r}")
        del self._known[media_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __bool__(self) -> bool:
        return self._strict or bool(self._known)

    def __repr__(self) -> str:
        return f"<Representations {', '.join(self._known)}>"


class Negotiation:
    """The representations of one view, the nearest router's first in rank; composed once."""

    def __init__(self, registered: Sequence[Representations]) -> None:
        found: dict[str, Representation] = {}
        for representations in registered:
            found.update(representations)
        self.known: dict[str, Representation | None] = {**({} if JSON in found else {JSON: None}), **found}
        """By media type, the one that is sent without a wish first; None is our own JSON."""
        self.strict = any(representations.strict for representations in registered)
        self.readable = [JSON, *(kind for kind, each in found.items() if each.read is not None and kind != JSON)]

    def answer(self, value: Any, request: Incoming, source: str) -> Any:
        """A view's value in the type that the client prefers; what is no data, text for instance, comes back as it is.

        Raises:
            NotAcceptable: it accepts none, and it is to be told so.
        """
        given = value[0] if isinstance(value, tuple) and value else value
        if not is_data(given):
            return value
        kind = self.choose(request.headers.get("accept"))
        representation = self.known[kind]
        if representation is not None:
            dump: Callable[[], Any] | None = getattr(given, "model_dump", None)
            plain = given if dump is None else dump()
            charset = "; charset=utf-8" if kind.startswith("text/") else ""
            written = Response(representation.write(plain), content_type=kind + charset)
            value = (written, *value[1:]) if isinstance(value, tuple) else written
        response = to_response(value, request, source)
        response.headers.vary("Accept")
        return response

    def choose(self, accept: str | None) -> str:
        """The type to send to a client with this ``Accept`` header.

        Raises:
            NotAcceptable: as ``answer``.
        """
        first = next(iter(self.known))
        found = first if accept is None else Accept(accept).best(self.known)
        if found is None and self.strict:
            raise NotAcceptable(f"There is {' and '.join(self.known)} here.", {"vary": "Accept"})
        return found or first

    def read(self, body: bytes, content_type: str | None, max_depth: int) -> Any:
        """The plain values in a body of another type than JSON.

        Raises:
            UnsupportedMediaType: nothing here reads that type; it names those that can be read.
            BadRequest: it is no such body, or nested too deep.
        """
        kind = parse_media_type(content_type or "")[0]
        representation = self.known.get(kind)
        if representation is None or representation.read is None:
            came = content_type or "no Content-Type"
            raise UnsupportedMediaType(
                f"Expected a body of the type {' or '.join(self.readable)}, got {came}.",
                {"accept": ", ".join(self.readable)},
            )
        try:
            value = representation.read(body)
        except (ValueError, RecursionError):
            raise BadRequest(f"The body cannot be read as {kind}.") from None
        check_plain(value, max_depth)
        return value


def is_data(value: Any) -> bool:
    """Whether a view's value is data, which has no type yet."""
    return isinstance(value, dict | list) or is_struct(value) or hasattr(value, "model_dump_json")


def spell_out(value: Any, encode: Callable[[Any], bytes]) -> Any:
    """A value in plain types, with texts in the place of those of its numbers and times that ``encode`` refuses."""
    from datetime import datetime

    import msgspec

    own_types = (bytes, bytearray, memoryview, datetime)

    def spell(plain: Any) -> Any:
        if isinstance(plain, dict):
            return {spell(key): spell(item) for key, item in plain.items()}
        if isinstance(plain, list | tuple):
            return [spell(item) for item in plain]
        if isinstance(plain, int | datetime):
            try:
                encode(plain)
            except OverflowError:
                return plain.isoformat() if isinstance(plain, datetime) else str(plain)
        return plain

    return spell(msgspec.to_builtins(value, builtin_types=own_types, enc_hook=json.encode_unknown))


def refuse_extension(code: int, data: memoryview) -> Any:
    """Stand for the types that MessagePack leaves to programs: no JSON could be made of them."""
    raise ValueError(f"the extension type {code} is not known")


def check_plain(value: Any, max_depth: int) -> None:
    """Look at what was read, level by level and in linear time: it must be no more than JSON could say.

    Raises:
        BadRequest: more than ``max_depth`` lists and dicts stand inside each other, or a key is no text or number.
    """
    # SECURITY: test_a_body_that_is_nested_too_deep_is_a_400_in_any_type: what comes after us may recurse.
    level = [value]
    for _ in range(max_depth):
        mappings = [each for each in level if isinstance(each, dict)]
        level = [item for each in level if isinstance(each, list | tuple) for item in each]
        for mapping in mappings:
            if not all(isinstance(key, str | int | float) for key in mapping):
                raise BadRequest("A key in the body is neither a text nor a number.")
            level += mapping.values()
        if not level:
            return
    if any(isinstance(each, dict | list | tuple) for each in level):
        raise BadRequest(f"The body is nested deeper than {max_depth} levels (JSON_MAX_DEPTH).")
