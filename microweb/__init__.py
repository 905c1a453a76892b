"""microweb: an async-first microframework on ASGI."""

__version__ = "0.1.0"
