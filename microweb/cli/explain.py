"""``microweb explain METHOD PATH``: what happens to a request. What it tells stands in ``explanation.py``."""

from __future__ import annotations

import click

from microweb.cli.commandgroup import find_source
from microweb.cli.program import app_option

__all__ = ["command"]


@click.command("explain", short_help="Show what a request would pass.")
@click.argument("method")
@click.argument("path")
@click.option("--host", help="The Host header, for apps that route by it.")
@app_option
@click.pass_context
def command(ctx: click.Context, method: str, path: str, host: str | None) -> None:
    """Show which route answers METHOD and PATH, and every layer on the way, with file and line.

    METHOD may be WEBSOCKET. Nothing of the app is called.
    """
    app = find_source(ctx).load()
    try:
        click.echo(str(app.explain(method, path, host=host)))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
