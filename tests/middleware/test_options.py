"""A mistake in the options of a built-in middleware is told when it is made, not by each request."""

import pytest

from microweb import SetupError
from microweb.middleware import (
    CORS,
    CSRF,
    Compress,
    MemoryRateLimitStorage,
    ProxyHeaders,
    RateLimit,
    RequestID,
    SecurityHeaders,
    Timeout,
    TrustedHosts,
)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (CORS, {"origins": 5}),
        (CORS, {"origins": [5]}),
        (CORS, {"origins": "*", "methods": 5}),
        (CORS, {"origins": "*", "expose": None}),
        (CORS, {"origins": "*", "max_age": "a while"}),
        (CSRF, {"trusted_origins": [None]}),
        (CSRF, {"exempt": 5}),
        (Compress, {"minimum": "large"}),
        (Compress, {"encodings": None}),
        (MemoryRateLimitStorage, {"max_keys": 0}),
        (ProxyHeaders, {"trusted": None}),
        (ProxyHeaders, {"trusted": [127]}),
        (ProxyHeaders, {"trusted": "127.0.0.1", "hops": "2"}),
        (RateLimit, {"limit": 5}),
        (RateLimit, {"limit": "5/minute", "key": "address"}),
        (RateLimit, {"limit": "5/minute", "storage": {}}),
        (RateLimit, {"limit": "5/minute", "name": None}),
        (RequestID, {"header": None}),
        (SecurityHeaders, {"content_security_policy": 5}),
        (SecurityHeaders, {"content_security_policy": {"default-src": 5}}),
        (SecurityHeaders, {"content_security_policy_nonce_in": 5}),
        (SecurityHeaders, {"strict_transport_security_max_age": None}),
        (Timeout, {"seconds": "5"}),
        (TrustedHosts, {"hosts": None}),
    ],
)
def test_an_option_of_another_kind_is_refused_when_the_middleware_is_made(make, options):
    with pytest.raises(SetupError):
        make(**options)


def test_one_alone_is_as_good_as_a_list_of_one():
    layer = CORS("https://shop.example", methods="PUT", headers="X-Token", expose="X-Total")

    assert layer.allows("https://shop.example")
    assert CSRF(trusted_origins="https://shop.example").trusted_origins == {"https://shop.example"}
