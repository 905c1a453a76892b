"""The page of an error: HTML made of an ``ErrorRecord``, and the policy that it is sent with.

Every text is escaped where it is put in; style and script lie beside this file and carry the nonce of the policy,
so that nothing else on the page is run or applied. Called by ``console.py``.
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

from microweb.debugger.records import ErrorRecord, ExceptionRecord, FrameRecord

__all__ = ["draw_page"]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style nonce="{nonce}">{style}</style>
</head>
<body data-url="{url}" data-token="{token}" data-error="{key}">
<header>
<p class="place">{place}</p>
<h1>{name}</h1>
<pre class="message">{message}</pre>
{template}</header>
<main>
{exceptions}
<section>
<h2>What was asked</h2>
{details}</section>
<section>
<h2>Plain text <button type="button" id="copy">Copy</button></h2>
<pre class="plain" id="plain">{plain}</pre>
</section>
</main>
<footer>{footer}</footer>
<script nonce="{nonce}">{script}</script>
</body>
</html>
"""
WITH_CONSOLES = "This page, and a console in each frame behind a PIN, are there because <code>DEBUG</code> is on."
WITHOUT_CONSOLES = (
    "This page is there because <code>DEBUG</code> is on. For a console in each frame: "
    "<code>pip install werkzeug</code>"
)


def draw_page(record: ErrorRecord, nonce: str, *, url: str, token: str, has_consoles: bool) -> str:
    """The whole page."""
    first = record.exceptions[0]
    numbers = {id(frame): number for number, frame in enumerate(record.frames)}
    main = first.find_main_frame()
    template = ""
    if main is not None and main.kind == "template":
        template = f'<p class="template">in the template <b>{escape(main.filename)}</b>, line {main.line}</p>\n'
    return PAGE.format(
        title=escape(record.title[:200]),
        nonce=nonce,
        style=read_asset("page.css"),
        script=read_asset("page.js"),
        url=escape(url),
        token=escape(token),
        key=escape(record.key),
        place=escape(f"{record.request.method} {record.request.path}"[:500]),
        name=escape(first.name),
        message=escape(first.message),
        template=template,
        exceptions="\n".join(draw_exception(each, numbers, has_consoles) for each in record.exceptions),
        details="".join(f"<h3>{escape(title)}</h3>\n{draw_table(rows)}" for title, rows in record.details),
        plain=escape(record.text),
        footer=WITH_CONSOLES if has_consoles else WITHOUT_CONSOLES,
    )


def draw_exception(exception: ExceptionRecord, numbers: dict[int, int], has_consoles: bool) -> str:
    """One exception of the chain with its frames."""
    heading = "<h2>Frames, the innermost last</h2>"
    if exception.relation:
        heading = (
            f"<h2>{escape(exception.relation)}: {escape(exception.name)}</h2>\n"
            f'<pre class="message">{escape(exception.message)}</pre>'
        )
    left_out = f"<p>{exception.left_out} frames in the middle are left out.</p>\n" if exception.left_out else ""
    main = exception.find_main_frame()
    frames = "\n".join(
        draw_frame(frame, numbers[id(frame)], is_open=frame is main, has_console=has_consoles)
        for frame in exception.frames
    )
    return f"<section>\n{heading}\n{left_out}{frames}\n</section>"


def draw_frame(frame: FrameRecord, number: int, *, is_open: bool, has_console: bool) -> str:
    """One frame, folded unless it is the one to look at first."""
    lines = "".join(
        f'<li value="{line}"{" class=current" if line == frame.line else ""}><code>{escape(text) or " "}</code></li>'
        for line, text in frame.source
    )
    source = f"<ol>{lines}</ol>" if lines else "<p>No source: the file is not there.</p>"
    console = f'<button type="button" class="open" data-frame="{number}">Console</button>' if has_console else ""
    variables = draw_table(frame.variables) if frame.variables else ""
    return (
        f'<details class="frame {frame.kind}" id="frame-{number}"{" open" if is_open else ""}>\n'
        f"<summary><b>{escape(frame.function)}</b> <span>{escape(frame.filename)}:{frame.line}</span></summary>\n"
        f"{source}\n{variables}{console}\n</details>"
    )


def draw_table(rows: list[tuple[str, str]]) -> str:
    """Names and values, one pair a row."""
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n" for name, value in rows)
    return f"<table>\n{lines}</table>\n"


@cache
def read_asset(name: str) -> str:
    """A file beside this one."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
