"""``microweb run``: serve the app. What serving is stands in ``microweb/server.py``."""

from __future__ import annotations

from pathlib import Path

import click

from microweb.cli.commandgroup import find_source
from microweb.cli.program import app_option
from microweb.server import ServeError, serve

__all__ = ["command"]


def refuse_names(ctx: click.Context, _: click.Parameter, names: tuple[str, ...]) -> None:
    """Servers take the app as an argument; here it is an option of every command."""
    if names:
        raise click.UsageError(f"the app is named by an option: {ctx.command_path} --app {names[0]}", ctx)


@click.command("run", short_help="Serve the app.")
@click.option("--host", "-h", default="127.0.0.1", show_default=True, help="The address to serve on.")
@click.option(
    "--port",
    "-p",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port; 0 takes a free one.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="How many processes.")
@click.option("--reload/--no-reload", default=None, help="Start again when files change; as --debug unless told.")
@click.option(
    "--reload-dir",
    "reload_dirs",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="A further folder to watch.",
)
@click.option("--reload-include", "reload_includes", multiple=True, help="Further files to watch: '*.toml'.")
@click.option("--access-log/--no-access-log", default=True, help="Log each request.", show_default=True)
@click.argument("names", nargs=-1, metavar="", expose_value=False, callback=refuse_names)
@app_option
@click.pass_context
def command(
    ctx: click.Context,
    host: str,
    port: int,
    workers: int,
    reload: bool | None,
    reload_dirs: tuple[str, ...],
    reload_includes: tuple[str, ...],
    access_log: bool,
) -> None:
    """Serve the app on http://127.0.0.1:8000, until Ctrl-C.

    With --debug or --reload it starts again whenever a source file or a template changes.
    """
    source = find_source(ctx)
    if reload and workers > 1:
        raise click.UsageError("--reload serves with one worker; leave out --workers or --reload")
    if reload is None:
        reload = bool(source.debug) and workers == 1
    if reload:
        source.prepare()
    try:
        serve(
            lambda: (source.load(), source.app_name),
            host,
            port,
            reload=reload,
            workers=workers,
            reload_dirs=[Path.cwd(), *reload_dirs],
            reload_includes=reload_includes,
            environ=source.environ,
            access_log=access_log,
        )
    except ServeError as error:
        raise click.ClickException(str(error)) from None
