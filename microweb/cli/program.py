"""The command ``microweb``: its own subcommands, those of installed plugins, and those of the app it finds.

A name is looked for in this order, so that the first two work where the app cannot be loaded. Plugins are
entry points of the group ``microweb.commands``, each a ``click.Command``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from microweb import __version__
from microweb.cli.commandgroup import find_source
from microweb.cli.discovery import AppSource, DiscoveryError, NoAppError
from microweb.config import load_dotenv_file
from microweb.errors import SetupError
from microweb.failures import LifespanFailed

__all__ = ["Program", "app_option", "program"]

Function = TypeVar("Function", bound=Callable[..., Any])

COMMANDS = ("run", "routes", "explain", "openapi", "shell", "new")
"""Each is ``command`` in the file of its name, imported when it is used."""

PLUGINS = "microweb.commands"
DOTENV_FILES = (".env", ".microwebenv")
"""As Flask: the first is for what is secret, the second can be checked in; what is set already stays."""


class Program(click.Group):
    """The whole command line, as far as it is known before the app is."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of ours, else a plugin's, else the app's."""
        if cmd_name in COMMANDS:
            found: click.Command = import_module(f"microweb.cli.{cmd_name}").command
            return found
        plugin = find_plugins().get(cmd_name)
        if plugin is not None:
            loaded = load_plugin(plugin)
            if loaded is not None:
                return loaded
        load_environment(ctx)
        try:
            app = find_source(ctx).load()
        except NoAppError:
            return None  # A slip of the keyboard, more likely than a command of an app that is not there.
        return app.cli.get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All their names, for the help text; without the app's, and a word on it, if it cannot be loaded."""
        names = {*COMMANDS, *find_plugins()}
        load_environment(ctx)
        try:
            names.update(find_source(ctx).load().cli.list_commands(ctx))
        except NoAppError:
            pass
        except DiscoveryError as error:
            if not ctx.resilient_parsing:
                click.echo(f"Warning: commands of the app are missing here: {error.message}", err=True)
        return sorted(names)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does, with the place where the app will be."""
        extra.setdefault("obj", AppSource())
        extra.setdefault("auto_envvar_prefix", "MICROWEB")
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a mistake in how the app is put together is one sentence, as is a start that failed."""
        try:
            return super().invoke(ctx)
        except SetupError as error:
            raise click.ClickException(str(error)) from error
        except LifespanFailed as error:
            raise click.ClickException(str(error)) from error  # Its cause is in the log.


# Plugins -----------------------------------------------------------------------------------------


def find_plugins() -> dict[str, EntryPoint]:
    """The commands that installed packages bring, not loaded."""
    return {entry.name: entry for entry in entry_points(group=PLUGINS)}


def load_plugin(entry: EntryPoint) -> click.Command | None:
    """The command; None, after a sentence about it, when there is none."""
    try:
        loaded = entry.load()
    except Exception as error:  # noqa: BLE001 - a broken plugin must not take the other commands along
        reason = f"{type(error).__name__}: {error}"
    else:
        if isinstance(loaded, click.Command):
            return loaded
        reason = f"{entry.value} is no click command, but of the type {type(loaded).__name__}"
    owner = f" of {entry.dist.name}" if entry.dist is not None else ""
    click.echo(f"Warning: the command {entry.name!r}{owner} cannot be loaded: {reason}", err=True)
    return None


# Options -----------------------------------------------------------------------------------------


def load_environment(ctx: click.Context, first: str | None = None) -> None:
    """Read ``.env`` files into the environment, once; a file that was asked for comes before the others.

    Raises:
        ClickException: that file cannot be read.
    """
    source = find_source(ctx)
    if source.environ is not None:
        return
    source.environ = dict(os.environ)
    if first is not None:
        try:
            load_dotenv_file(first)
        except SetupError as error:
            raise click.ClickException(str(error)) from None
    for name in DOTENV_FILES:
        try:
            load_dotenv_file(name)
        except SetupError as error:
            click.echo(f"Warning: {error}", err=True)


def read_environment(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    """The callback of ``--env-file``, which is called without the option too."""
    if not ctx.resilient_parsing:
        load_environment(ctx, value)


def set_app(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    """The callback of ``--app``. What the environment says is read when the app is loaded."""
    if value is not None:
        find_source(ctx).name = value


def set_debug(ctx: click.Context, parameter: click.Parameter, value: bool | None) -> None:
    """The callback of ``--debug``. The environment does not change what an outer command was told."""
    source = find_source(ctx)
    is_told = ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if value is not None and (is_told or source.debug is None):
        source.debug = value


def app_option(function: Function) -> Function:
    """Give a command the options that say which app, on its right side too: ``microweb run --app shop``."""
    for option in (
        click.option(
            "--debug/--no-debug",
            default=None,
            envvar="MICROWEB_DEBUG",
            expose_value=False,
            callback=set_debug,
            help="Set app.debug.",
        ),
        click.option(
            "--app",
            "-A",
            metavar="IMPORT",
            is_eager=True,
            expose_value=False,
            callback=set_app,
            help="The app: module, module:name, module:factory('argument') or a file; else $MICROWEB_APP.",
        ),
    ):
        function = option(function)
    return function


def show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """The callback of ``--version``."""
    if not value or ctx.resilient_parsing:
        return
    try:
        server = version("uvicorn")
    except PackageNotFoundError:
        server = "not installed"
    python = ".".join(map(str, sys.version_info[:3]))
    click.echo(f"microweb {__version__}\nPython {python}\nuvicorn {server}")
    ctx.exit()


@click.group(
    cls=Program,
    help="Serve and look at a microweb app, and run its commands.",
    epilog="Without --app or MICROWEB_APP, the app is looked for in app.py, main.py, asgi.py or wsgi.py.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Show the versions of microweb, Python and uvicorn.",
)
@click.option(
    "--env-file",
    "-e",
    type=click.Path(exists=True, dir_okay=False, path_type=str),
    is_eager=True,
    expose_value=False,
    callback=read_environment,
    help="Read environment variables from this file, before .env and .microwebenv.",
)
@app_option
def program() -> None:
    """Serve and look at a microweb app, and run its commands."""
