"""``microweb openapi``: the app's OpenAPI document, as JSON on stdout."""

from __future__ import annotations

import json

import click

from microweb.cli.commandgroup import find_source
from microweb.cli.program import app_option
from microweb.openapi import OpenAPI

__all__ = ["command"]


@click.command("openapi", short_help="Print the OpenAPI document.")
@click.option("--root-path", default="", help="Where the app is served, for the document's servers.")
@app_option
@click.pass_context
def command(ctx: click.Context, root_path: str) -> None:
    """Print the OpenAPI document of an app that has an OpenAPI(app, ...): microweb openapi > openapi.json

    Nothing of the app is called.
    """
    app = find_source(ctx).load()
    api = app.extensions.get("openapi")
    if not isinstance(api, OpenAPI):
        raise click.ClickException(
            "the app describes no API; add OpenAPI(app, title=..., version=...) from microweb.openapi to it"
        )
    document = api.make_document(app, root_path=root_path)
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
