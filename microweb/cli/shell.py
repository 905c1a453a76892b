"""``microweb shell``: a Python prompt with the app at hand and ``await`` at the top level.

The prompt is IPython's, if it is installed. Everything that is awaited runs on one event loop, on which the
app has been started, so ``app.state`` holds what its lifespans made. That loop runs while something is
awaited and rests at the prompt: background tasks go on with the next ``await``.
"""

from __future__ import annotations

import ast
import asyncio
import code
import contextvars
import inspect
import os
import sys
import traceback
import types
from collections.abc import Coroutine
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import microweb
from microweb.app import App
from microweb.cli.commandgroup import find_source
from microweb.cli.program import app_option
from microweb.context import tear_down

__all__ = ["Console", "command"]


@click.command("shell", short_help="Open a Python prompt with the app.")
@click.option("--plain", is_flag=True, help="Python's own prompt, also where IPython is installed.")
@click.option("--lifespan/--no-lifespan", default=True, show_default=True, help="Start the app.")
@app_option
@click.pass_context
def command(ctx: click.Context, plain: bool, lifespan: bool) -> None:
    """Open a Python prompt in the app's context: "app" and the names of microweb are there, "await" works."""
    app = find_source(ctx).load()
    names = make_names(app)
    python = sys.version.split()[0]
    banner = f"microweb {microweb.__version__}, Python {python}: {app!r} is `app`, and `await` works."
    with asyncio.Runner() as runner:
        if lifespan:
            runner.run(app._runtime.ensure())
        try:
            with app.app_context() as context, ExitStack() as stack:

                def leave(kind: object, error: BaseException | None, traceback: object) -> None:
                    # On the loop of the prompt, to which belongs what stands in `g`.
                    runner.run(tear_down(context, None, error), context=contextvars.copy_context())

                stack.push(leave)
                if plain or not open_ipython(runner, names, banner):
                    open_console(runner, names, banner)
        finally:
            if lifespan:
                runner.run(app._runtime.stop())


def make_names(app: App) -> dict[str, Any]:
    """What stands at the prompt: all that microweb exports that is there, and ``app``."""
    names = {name: getattr(microweb, name) for name in microweb.__all__ if hasattr(microweb, name)}
    return {**names, "app": app}


def open_ipython(runner: asyncio.Runner, names: dict[str, Any], banner: str) -> bool:
    """Run IPython until it is left; False if it is not installed."""
    try:
        ipython = import_module("IPython")
    except ImportError:
        return False

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return runner.run(coroutine)  # a function, since a config is copied deeply, with all that it holds

    config = import_module("traitlets.config").Config()
    config.TerminalInteractiveShell.banner1 = banner + "\n"
    config.InteractiveShell.loop_runner = run
    ipython.start_ipython(argv=[], user_ns=names, config=config)
    return True


def open_console(runner: asyncio.Runner, names: dict[str, Any], banner: str) -> None:
    """Run Python's own prompt until it is left."""
    run_startup_file(names)
    try:
        import readline  # line editing, where the system has it
        import rlcompleter
    except ImportError:
        pass
    else:
        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    Console(runner, names).interact(banner, exitmsg="")


def run_startup_file(names: dict[str, Any]) -> None:
    """Do what Python does at its prompt: run the file that PYTHONSTARTUP names."""
    startup = os.environ.get("PYTHONSTARTUP")
    if startup and Path(startup).is_file():
        source = Path(startup).read_text(encoding="utf-8")
        exec(compile(source, startup, "exec"), names)  # noqa: S102 - the user's own file, at the user's prompt


class Console(code.InteractiveConsole):
    """Python's prompt, where ``await`` can stand outside of a coroutine function."""

    def __init__(self, runner: asyncio.Runner, names: dict[str, Any]) -> None:
        super().__init__(names)
        self.runner = runner
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: types.CodeType) -> None:
        """Run a line; show what it raises, and go on."""
        function = types.FunctionType(code, self.locals)
        try:
            value = function()
            if inspect.iscoroutine(value):
                # A copy, for the one we are in cannot be entered again.
                self.runner.run(value, context=contextvars.copy_context())
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 - Ctrl-C ends the line, not the prompt
            frames = error.__traceback__
            while frames is not None and frames.tb_frame.f_code.co_filename != self.filename:
                frames = frames.tb_next  # ours, and those of asyncio
            sys.last_type, sys.last_value, sys.last_traceback = type(error), error, frames
            # Behind a Ctrl-C is the cancellation that asyncio has made of it.
            chain = not isinstance(error, KeyboardInterrupt)
            self.write("".join(traceback.format_exception(error.with_traceback(frames), chain=chain)))
