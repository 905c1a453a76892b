"""Who may use the debugger: this machine, from the page itself, with the PIN that stands in the terminal.

A console runs any code, so each of these alone would have to fail at once before a stranger gets one:

- the peer and the name in ``Host`` are this machine's, and no proxy passed the request on (DNS rebinding, a
  debug server that listens to the world);
- ``Origin`` is the page's own, and the request carries the token that only the page knows (other sites);
- the PIN, ten wrong ones of which lock the consoles for the life of the process.

Called by ``console.py``.
"""

from __future__ import annotations

from secrets import compare_digest, randbelow, token_urlsafe

from microweb.asgi import Scope
from microweb.errors import SetupError
from microweb.headers import find_header
from microweb.hosts import parse_host
from microweb.requests import Request

__all__ = ["Access", "is_for_other_site", "is_local", "is_same_origin"]

MOST_WRONG_PINS = 10
SHORTEST_PIN = 6
COOKIE = "microweb_debugger"
PAGE_HEADER = "x-microweb-debugger"
FORWARDING = (b"forwarded", b"via", b"x-forwarded-", b"x-real-ip")
"""How the headers begin that proxies add. The host need not tell: nginx asks its upstream for "localhost"."""


class Access:
    """The secrets of one process: the page's token, the PIN, and the ticket that the right PIN gives.

    ``pin`` is the one that the program chose, or None for one drawn at random.

    Raises:
        SetupError: the chosen PIN has fewer than six characters.
    """

    def __init__(self, pin: object = None) -> None:
        self.pin = draw_pin() if pin is None else str(pin)
        if len(plain(self.pin)) < SHORTEST_PIN:
            raise SetupError(f"DEBUG_PIN needs {SHORTEST_PIN} characters or more; without it one is drawn at random")
        self.token = token_urlsafe(24)
        self.ticket = token_urlsafe(32)
        self.wrong_pins = 0

    @property
    def is_locked(self) -> bool:
        """Whether too many wrong PINs came."""
        return self.wrong_pins >= MOST_WRONG_PINS

    def has_token(self, request: Request) -> bool:
        """Whether the request comes from a page that this process made."""
        return same(request.headers.get(PAGE_HEADER, ""), self.token)

    def has_ticket(self, request: Request) -> bool:
        """Whether the right PIN was given before."""
        return same(request.cookies.get(COOKIE, ""), self.ticket)

    def try_pin(self, pin: str) -> bool:
        """Whether it is the right one; a wrong one counts. Once locked, none is right."""
        # SECURITY: test_ten_wrong_pins_lock_the_consoles
        if self.is_locked:
            return False
        if same(plain(pin), plain(self.pin)):
            self.wrong_pins = 0
            return True
        self.wrong_pins += 1
        return False


def draw_pin() -> str:
    """Nine digits to be typed from the terminal."""
    digits = f"{randbelow(10**9):09d}"
    return f"{digits[:3]}-{digits[3:6]}-{digits[6:]}"


def plain(pin: str) -> str:
    """A PIN without what makes it readable."""
    return pin.replace("-", "").replace(" ", "")


def same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing."""
    return compare_digest(given.encode("utf-8", "replace"), expected.encode())


def is_local(scope: Scope) -> bool:
    """Whether a request came from this machine, straight, and was addressed to it by a name of its own."""
    # SECURITY: test_the_debugger_answers_this_machine_only
    client = scope.get("client")
    if not client or not is_loopback(client[0]):
        return False
    hosts = []
    for name, value in scope["headers"]:
        if name.startswith(FORWARDING):
            return False
        if name == b"host":
            hosts.append(value.decode("latin-1"))
    if len(hosts) != 1:
        return False
    return names_this_machine(hosts[0])


def names_this_machine(authority: str) -> bool:
    """Whether a host with or without a port is a name of this machine's own."""
    parsed = parse_host(authority)
    if parsed is None:
        return False
    host = parsed[0]
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


def is_for_other_site(scope: Scope) -> bool:
    """Whether a script of another site asks, which may read the answer if a layer such as ``CORS`` says so."""
    # SECURITY: test_a_script_of_another_site_gets_the_built_in_page. No script reads what a tab is sent to.
    headers = scope["headers"]
    origin = find_header(headers, b"origin")
    if origin is None or find_header(headers, b"sec-fetch-mode") == b"navigate":
        return False
    return not names_this_machine(origin.decode("latin-1").partition("://")[2])


def is_loopback(address: str) -> bool:
    """Whether an address, with or without brackets, is one of 127.0.0.0/8 or ::1."""
    from ipaddress import IPv6Address, ip_address

    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped.is_loopback
    return found.is_loopback


def is_same_origin(request: Request) -> bool:
    """Whether a browser says that a page of this very origin sends it; one that does not say is refused."""
    # SECURITY: test_another_site_cannot_use_the_console
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    return (request.headers.get("origin") or "").lower() == f"{request.scheme}://{request.host}".lower()
