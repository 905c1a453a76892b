"""``microweb routes``: what the app answers to, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from microweb.app import App
from microweb.callables import describe, is_async
from microweb.cli.commandgroup import find_source
from microweb.cli.program import app_option
from microweb.routelist import ListedRoute

__all__ = ["Row", "command", "make_row", "make_table"]


class Row(NamedTuple):
    """One line of the table."""

    methods: str
    rule: str
    endpoint: str
    runs: str
    router: str


HEADINGS = Row("Methods", "Rule", "Endpoint", "Runs", "Router")
COLUMNS = {"methods": 0, "rule": 1, "endpoint": 2, "runs": 3, "router": 4}


@click.command("routes", short_help="Show the routes.")
@click.option(
    "--sort",
    "-s",
    type=click.Choice([*COLUMNS, "registered"]),
    default="rule",
    show_default=True,
    help="Sort by a column, or as registered.",
)
@app_option
@click.pass_context
def command(ctx: click.Context, sort: str) -> None:
    """Show every route of the app, with websockets and mounted apps.

    "async" views run on the event loop, "thread" views, which are plain functions, in a worker thread.
    HEAD and OPTIONS are answered by themselves and not shown.
    """
    rows = [make_row(route) for route in find_source(ctx).load().list_routes()]
    if not rows:
        click.echo("The app has no routes.")
        return
    if sort != "registered":
        column = COLUMNS[sort]
        rows.sort(key=lambda row: (row[column], row.rule))
    click.echo("\n".join(make_table(rows)))


def make_row(route: ListedRoute) -> Row:
    """One route as the table shows it."""
    rule = f"//{route.host}{route.rule}" if route.host is not None else route.rule
    endpoint, owner = route.endpoint or "", route.router or "app"
    if route.kind == "mount":
        mounted = repr(route.view) if isinstance(route.view, App) else describe(route.view).removesuffix(".__call__")
        return Row("mount", f"{rule}/...", endpoint, mounted, owner)
    methods = "WEBSOCKET" if route.kind == "websocket" else " ".join(sorted(route.methods))
    return Row(methods, rule, endpoint, "async" if is_async(route.view) else "thread", owner)


def make_table(rows: Iterable[Row]) -> list[str]:
    """The lines of the table, headings first."""
    table: list[Sequence[str]] = [HEADINGS, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
