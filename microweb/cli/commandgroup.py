"""``app.cli`` and ``router.cli``: click groups whose commands run in the app's context.

Which app that is comes from click's context, where ``program.py`` or ``CommandRunner`` has put the source of
it; an app's own group that is called as it stands takes that app.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, overload

import click

from microweb.callables import is_async
from microweb.cli.discovery import AppSource
from microweb.router import Router

if TYPE_CHECKING:
    from microweb.app import App

__all__ = ["CommandGroup", "find_source"]


class CommandGroup(click.Group):
    """The commands of an app or a router; those of mounted routers are groups in it, under their names.

    A command runs in an app context: ``current_app`` and ``g`` are there. One that is an ``async def`` runs
    inside the app's lifespan too, so that it finds in ``app.state`` what was made there; ``lifespan=False``
    is for commands that prepare what a lifespan needs.

    >>> import click
    >>> from microweb import App
    >>> app = App(__name__)
    >>> @app.cli.command()
    ... @click.argument("name")
    ... async def greet(name):
    ...     click.echo(f"Hello, {name}!")
    >>> app.test_cli_runner().invoke(args=["greet", "you"]).output
    'Hello, you!\\n'
    """

    def __init__(self, router: Router | None = None, name: str | None = None, **options: Any) -> None:
        if router is not None:
            options.setdefault("help", f"Commands of {router.name or 'the app'}.")
        super().__init__(name if name is not None or router is None else router.name or None, **options)
        self.router = router
        self._own: set[click.Command] = set()
        """Those whose functions were given their context, or were to have none, when they were made."""

    @overload
    def command(self, function: Callable[..., Any], /) -> click.Command: ...
    @overload
    def command(
        self, name: str | None = None, *, with_context: bool = True, lifespan: bool = True, **options: Any
    ) -> Callable[[Callable[..., Any]], click.Command]: ...
    def command(self, *args: Any, with_context: bool = True, lifespan: bool = True, **options: Any) -> Any:
        """``click.Group.command``; ``with_context=False`` runs the function without an app."""
        # Without parentheses click makes the command at once, from a function that we have not wrapped.
        if len(args) == 1 and callable(args[0]) and not options:
            return self.command(with_context=with_context, lifespan=lifespan)(args[0])
        make = super().command(*args, **options)

        def decorate(function: Callable[..., Any]) -> Any:
            made = make(run_in_app(function, lifespan=lifespan) if with_context else function)
            self._own.add(made)
            return made

        return decorate

    @overload
    def group(self, function: Callable[..., Any], /) -> click.Group: ...
    @overload
    def group(self, name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], click.Group]: ...
    def group(self, *args: Any, **options: Any) -> Any:
        """``click.Group.group``; what is made is a ``CommandGroup`` as well."""
        if len(args) == 1 and callable(args[0]) and not options:
            return self.group()(args[0])
        options.setdefault("cls", CommandGroup)
        return super().group(*args, **options)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of this group, or the group of a router that is mounted here."""
        found = super().get_command(ctx, cmd_name)
        if found is None:
            return self._router_groups().get(cmd_name)
        return found if found in self._own else put_in_app(found)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, sorted."""
        return sorted({*super().list_commands(ctx), *self._router_groups()})

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does; an app's group that nobody gave an app to takes its own."""
        has_source = "obj" in extra or (parent is not None and parent.find_object(AppSource) is not None)
        if self.router is not None and self.router.is_app and not has_source:
            extra["obj"] = source_of(self.router)
        return super().make_context(info_name, args, parent, **extra)

    def _router_groups(self) -> dict[str, click.Group]:
        found: dict[str, click.Group] = {}
        for mount in self.router.mounts if self.router is not None else ():
            inner = mount.target
            if isinstance(inner, Router) and not inner.is_app and has_commands(inner):
                found[mount.name or inner.name] = inner.cli
        return found


def has_commands(router: Router, around: tuple[Router, ...] = ()) -> bool:
    """Whether a router, or one that is mounted in it, has a command. Does not make groups.

    ``around`` are those that it is mounted in: a circle is for the start to complain of.
    """
    if router._cli is not None and router._cli.commands:
        return True
    around = (*around, router)
    return any(
        isinstance(mount.target, Router)
        and not mount.target.is_app
        and mount.target not in around
        and has_commands(mount.target, around)
        for mount in router.mounts
    )


def source_of(app: Any) -> AppSource:
    """The source of an app that is there already."""
    return AppSource(app=app)


def find_source(ctx: click.Context) -> AppSource:
    """Where the commands of this context get their app from."""
    return ctx.ensure_object(AppSource)


def put_in_app(command: click.Command) -> click.Command:
    """A copy, run in an app context, of a command that was made elsewhere and added with ``add_command``."""
    if isinstance(command, CommandGroup):
        return command
    copied = copy(command)
    if command.callback is not None:
        copied.callback = run_in_app(command.callback, lifespan=True)
    if isinstance(command, click.Group):
        find = command.get_command

        def get_command(ctx: click.Context, cmd_name: str) -> click.Command | None:
            found = find(ctx, cmd_name)
            return None if found is None else put_in_app(found)

        # A group of a class of its own may not look into `commands`, as one that imports its commands lazily.
        copied.__dict__["get_command"] = get_command
        copied.__dict__["commands"] = {name: put_in_app(inner) for name, inner in command.commands.items()}
    return copied


def run_in_app(function: Callable[..., Any], *, lifespan: bool) -> Callable[..., Any]:
    """``function`` as click is to call it: in an app context, and on an event loop if it is a coroutine's."""

    @click.pass_context
    def run(ctx: click.Context, /, *args: Any, **options: Any) -> Any:
        app = find_source(ctx).load()
        if is_async(function):
            return run_on_loop(app, ctx, lambda: ctx.invoke(function, *args, **options), lifespan=lifespan)
        with app.app_context():
            return ctx.invoke(function, *args, **options)

    return update_wrapper(run, function)


def run_on_loop(app: App, ctx: click.Context, call: Callable[[], Awaitable[Any]], *, lifespan: bool) -> Any:
    """What the coroutine gives, in the app's context; inside the app's lifespan, if asked for."""
    import asyncio

    from microweb.helperloops import run_sync
    from microweb.loops import find_current_loop

    async def main() -> Any:
        # click keeps its context per thread, and this may be another one.
        with ctx.scope(cleanup=False):
            if not lifespan:
                async with app.app_context():
                    return await call()
            await app._runtime.ensure()
            try:
                async with app.app_context():
                    return await call()
            finally:
                await app._runtime.stop()

    if find_current_loop() is not None:
        return run_sync(main)
    return asyncio.run(main())
