"""What ``app.test_cli_runner()`` gives: click's runner for tests, with the app in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from click import Command
from click.testing import CliRunner, Result

from microweb.cli.discovery import AppSource

if TYPE_CHECKING:
    from microweb.app import App

__all__ = ["CommandRunner"]


class CommandRunner(CliRunner):
    """Runs commands in this process, their output captured; ``click.testing.CliRunner`` has the options.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> @app.cli.command()
    ... def version():
    ...     print("1.0")
    >>> app.test_cli_runner().invoke(args=["version"]).output
    '1.0\\n'
    """

    def __init__(self, app: App, **options: Any) -> None:
        super().__init__(**options)
        self.app = app

    def invoke(
        self,
        cli: Command | None = None,
        args: str | Sequence[str] | None = None,
        input: str | bytes | IO[Any] | None = None,
        env: Mapping[str, str | None] | None = None,
        catch_exceptions: bool | None = None,
        color: bool = False,
        **extra: Any,
    ) -> Result:
        """Run a command, ``app.cli`` if none is given, with ``args`` as on the command line."""
        extra.setdefault("obj", AppSource(app=self.app))
        return super().invoke(
            cli if cli is not None else self.app.cli, args, input, env, catch_exceptions, color, **extra
        )
