"""``microweb routes``: what the app answers to, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import click

from microweb.app import App
from microweb.callables import describe, is_async
from microweb.cli.commandgroup import find_source
from microweb.cli.program import app_option

__all__ = ["Row", "command", "list_rows", "make_table"]


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
    rows = list(list_rows(find_source(ctx).load()))
    if not rows:
        click.echo("The app has no routes.")
        return
    if sort != "registered":
        column = COLUMNS[sort]
        rows.sort(key=lambda row: (row[column], row.rule))
    click.echo("\n".join(make_table(rows)))


def list_rows(app: App, prefix: str = "", name: str = "") -> Iterator[Row]:
    """The routes of an app as registered, then those of the microweb apps mounted in it, under their prefix.

    Raises:
        SetupError: the routes cannot be put together.
    """
    mounted: list[tuple[App, str, str]] = []
    for rule in app.assembly.table.rules:
        target = rule.target
        path = f"//{rule.host.rule}" if rule.host is not None else ""
        path += prefix + rule.pattern.rule
        owner = ".".join(part for part in (name, target.placement.name) if part) or "app"
        if target.mount is not None:
            inner = target.mount.target
            inner_name = target.mount.name or ""
            shown = repr(inner) if isinstance(inner, App) else describe(inner).removesuffix(".__call__")
            yield Row("mount", f"{path}/...", inner_name, shown, owner)
            if isinstance(inner, App):
                full_name = ".".join(part for part in (name, target.placement.name, inner_name) if part)
                mounted.append((inner, path, full_name))
            continue
        assert target.route is not None
        methods = "WEBSOCKET" if rule.methods is None else " ".join(sorted(rule.methods))
        runs = "async" if is_async(target.route.view) else "thread"
        endpoint = ".".join(part for part in (name, target.endpoint) if part)
        yield Row(methods, path, endpoint, runs, owner)
    for inner, path, full_name in mounted:
        yield from list_rows(inner, path, full_name)


def make_table(rows: Iterable[Row]) -> list[str]:
    """The lines of the table, headings first."""
    table: list[Sequence[str]] = [HEADINGS, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
