"""The command line: ``microweb run | routes | explain | openapi | shell | new``, and the commands of programs.

``program.py`` is the command itself, the files named after its subcommands hold those, ``discovery.py`` finds
the app, and ``commandgroup.py`` is what ``app.cli`` and ``router.cli`` are.
"""

from __future__ import annotations

__all__ = ["main"]


def main(name: str = "microweb") -> None:
    """Run the command line of this process; ``name`` is what help texts call it.

    Raises:
        SystemExit: always; 1 after an error, 2 when the command line is wrong.
    """
    from microweb.cli.program import program

    program.main(prog_name=name)
