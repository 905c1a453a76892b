"""The pytest plugin: fixtures ``client`` and ``sync_client`` for the test's own fixture ``app``.

pytest loads it in every run, so it imports nothing but pytest until a fixture is used. An async fixture
belongs to the plugin that runs the test: anyio's takes any, pytest-asyncio in strict mode only those made by
its own decorator, and that one fixture for each scope of its loops. ``client`` picks the right one. Not
loaded by programs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from microweb.testing.client import Client
    from microweb.testing.syncclient import SyncClient

__all__ = ["client", "pytest_configure", "sync_client"]


def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures for pytest-asyncio, if it takes part in this run."""
    if config.pluginmanager.has_plugin("asyncio"):
        from microweb.testing.asynciofixture import AsyncioClients

        config.pluginmanager.register(AsyncioClients(open_client), "microweb-asyncio")


@pytest.fixture
def client(request: pytest.FixtureRequest, app: Any) -> Client:
    """A started ``microweb.testing.Client`` for the fixture ``app``; for ``async def`` tests."""
    found: Client = request.getfixturevalue(find_client_fixture(request))
    return found


@pytest.fixture
def sync_client(app: Any) -> Iterator[SyncClient]:
    """A started ``microweb.testing.SyncClient`` for the fixture ``app``; for ``def`` tests."""
    from microweb.testing import SyncClient

    with SyncClient(app) as opened:
        yield opened


@pytest.fixture
async def _microweb_anyio_client(app: Any) -> AsyncIterator[Client]:
    async with open_client(app) as opened:
        yield opened


def find_client_fixture(request: pytest.FixtureRequest) -> str:
    """The name of the fixture that starts a client in the loop that runs this test."""
    if "anyio_backend" in request.fixturenames:
        return "_microweb_anyio_client"
    marker = request.node.get_closest_marker("asyncio")
    if marker is None:
        pytest.fail(
            f"{request.node.name}: the fixture `client` is for async tests, run by anyio (mark them with"
            " pytest.mark.anyio) or pytest-asyncio (pytest.mark.asyncio); a `def` test takes `sync_client`",
            pytrace=False,
        )
    default = request.config.getini("asyncio_default_test_loop_scope")
    scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope") or default
    return f"_microweb_asyncio_client_{scope}"


def open_client(app: Any) -> Client:
    """The app's own test client where it has one, so that a subclass may change it."""
    import microweb.testing

    make: Callable[[], Client] = getattr(app, "test_client", partial(microweb.testing.Client, app))
    return make()
