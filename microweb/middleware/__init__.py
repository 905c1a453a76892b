"""Middleware that many programs need, each to be added with ``app.add_middleware(...)``.

They use nothing of microweb but its public names, so any of them can be copied and changed.
"""

from __future__ import annotations

from microweb.middleware.compress import Compress
from microweb.middleware.cors import CORS
from microweb.middleware.csrf import CSRF
from microweb.middleware.httpsredirect import HTTPSRedirect
from microweb.middleware.proxyheaders import ProxyHeaders
from microweb.middleware.ratelimit import MemoryRateLimitStorage, RateLimit, RateLimitStorage
from microweb.middleware.requestid import RequestID, RequestIDFilter
from microweb.middleware.securityheaders import SecurityHeaders
from microweb.middleware.timeout import Timeout
from microweb.middleware.trustedhosts import TrustedHosts

__all__ = [
    "CORS",
    "CSRF",
    "Compress",
    "HTTPSRedirect",
    "MemoryRateLimitStorage",
    "ProxyHeaders",
    "RateLimit",
    "RateLimitStorage",
    "RequestID",
    "RequestIDFilter",
    "SecurityHeaders",
    "Timeout",
    "TrustedHosts",
]
