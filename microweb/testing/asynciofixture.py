"""The client fixtures for pytest-asyncio: one for each scope that its event loops can have.

Loaded by ``plugin.py`` only where pytest-asyncio is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest_asyncio

if TYPE_CHECKING:
    from microweb.testing.client import Client

__all__ = ["AsyncioClients"]

Scope: TypeAlias = Literal["function", "class", "module", "package", "session"]


def make_fixture(scope: Scope) -> Any:
    """A client that lives in the loop of ``scope`` and is started anew for every test."""

    @pytest_asyncio.fixture(loop_scope=scope, name=f"_microweb_asyncio_client_{scope}")
    async def asyncio_client(self: AsyncioClients, app: Any) -> AsyncIterator[Client]:
        async with self.open_client(app) as opened:
            yield opened

    return asyncio_client


class AsyncioClients:
    """Holds the fixtures for pytest to find; ``open_client`` makes a client for an app."""

    def __init__(self, open_client: Callable[[Any], Client]) -> None:
        self.open_client = open_client

    in_function_loop = make_fixture("function")
    in_class_loop = make_fixture("class")
    in_module_loop = make_fixture("module")
    in_package_loop = make_fixture("package")
    in_session_loop = make_fixture("session")
