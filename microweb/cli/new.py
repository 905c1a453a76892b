"""``microweb new NAME``: write a project that runs, with tests that pass.

What is written stands in ``skeleton/``: every file there is a Jinja template with brackets for braces, so that the
project's own templates can stand among them. ``package`` in a path becomes the project's name.
"""

from __future__ import annotations

import json
import keyword
import re
import secrets
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click

__all__ = ["check_name", "command", "find_requirement", "render_project"]

SKELETON = Path(__file__).with_name("skeleton")
DISTRIBUTION = "microweb-asgi"
HIDDEN = ("env", "gitignore", "dockerignore")
"""Written with a dot in front, which they lack here so that no tool takes them for ours."""
RESERVED = {"asgi", "conftest", "deployment", "microweb", "test", "tests", "wheels"}
"""Stands in the project, is ours, or Python's: ``sys.stdlib_module_names`` leaves out its ``test``."""
PARTS = {
    "templates": ("package/pages.py", "package/templates/", "package/static/", "tests/test_pages.py"),
    "docker": ("Dockerfile", "dockerignore", "compose.yaml", "deployment/nginx.conf"),
    "systemd": ("deployment/package.service",),
}
"""What can be left out, and how the paths of its files begin."""


def check_name(ctx: click.Context, _: click.Parameter, value: str) -> str:
    """The callback of NAME: it becomes a package, a distribution, a folder, a service and a prefix of variables.

    Raises:
        BadParameter: it cannot be one of these.
    """
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", value):
        near = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_0123456789")
        hint = f"; {near!r} would do" if near and is_free(near) else ""
        raise click.BadParameter(
            f"{value!r} is no name for a Python package: lower-case letters, digits and underscores, a letter first,"
            f" no underscore at the end{hint}"
        )
    if not is_free(value):
        raise click.BadParameter(f"{value!r} means something else to Python or in the project; take another name")
    return value


def is_free(name: str) -> bool:
    """Whether a package of that name would hide nothing."""
    taken = (
        name in RESERVED or name in sys.stdlib_module_names or keyword.iskeyword(name) or keyword.issoftkeyword(name)
    )
    return not taken and name not in packages_distributions()


@click.command("new", short_help="Write a new project.")
@click.argument("name", callback=check_name)
@click.option(
    "--templates/--no-templates", default=True, help="Pages, with templates and static files, or an API only."
)
@click.option("--docker/--no-docker", default=True, help="Dockerfile, and a compose file with nginx in front.")
@click.option("--systemd/--no-systemd", default=True, help="A unit for systemd.")
def command(name: str, templates: bool, docker: bool, systemd: bool) -> None:
    """Write a project into the new folder NAME: it runs, and its tests pass.

    NAME is the name of its Python package too.
    """
    folder = Path(name)
    files = dict(render_project(name, templates=templates, docker=docker, systemd=systemd))
    try:
        folder.mkdir()
    except FileExistsError:
        raise click.ClickException(
            f"{name!r} exists already, and nothing in it was touched; take another name"
        ) from None
    except OSError as error:
        raise click.ClickException(f"the folder {name!r} cannot be made: {error.strerror}") from None
    for path, text in files.items():
        write_file(folder / path, text)
    click.echo(f"{name}/ has {len(files)} files. Go on with:\n\n  cd {name}\n  make test\n  make run")


def render_project(
    name: str, *, templates: bool = True, docker: bool = True, systemd: bool = True
) -> Iterator[tuple[str, str]]:
    """The files of a project: the path in it, and the text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        # These are programs, and pages with blocks of their own: nothing is escaped. The name has been checked.
        autoescape=select_autoescape(enabled_extensions=(), default_for_string=False),
        loader=FileSystemLoader(SKELETON),
        undefined=StrictUndefined,
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    chosen = {"templates": templates, "docker": docker, "systemd": systemd}
    left_out = tuple(start for part, starts in PARTS.items() if not chosen[part] for start in starts)
    for source in sorted(environment.list_templates(extensions=["jinja"])):
        path = source.removesuffix(".jinja")
        if path.startswith(left_out):
            continue
        text = environment.get_template(source).render(
            chosen,
            name=name,
            prefix=name.upper(),
            microweb=find_requirement(),
            secret_key=secrets.token_urlsafe(32),
        )
        if path in HIDDEN:
            path = f".{path}"
        yield re.sub(r"(^|/)package(?=[/.])", rf"\1{name}", path), text


def find_requirement() -> str:
    """What pip installs the microweb that runs here from: a checkout, an address, or its name.

    How an installer notes the origin: PEP 610.
    """
    try:
        noted = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        noted = None
    if noted is None:
        return DISTRIBUTION
    origin = json.loads(noted)
    url: str = origin["url"]
    if "vcs_info" in origin:
        requirement = f"{DISTRIBUTION} @ {origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    elif url.startswith("file:"):
        requirement = url2pathname(urlsplit(url).path)
    else:
        requirement = f"{DISTRIBUTION} @ {url}"
    # SECURITY: it becomes a line of a Makefile. test_an_origin_that_a_makefile_cannot_hold_is_left_out
    return requirement if re.fullmatch(r"[\w/.+:@~= -]+", requirement) else DISTRIBUTION


def write_file(path: Path, text: str) -> None:
    """Write a new file; one with secrets for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600 if path.name == ".env" else 0o666, exist_ok=False)
    path.write_text(text, encoding="utf-8")
