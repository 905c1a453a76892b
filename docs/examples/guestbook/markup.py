"""The guest book's HTML. ``Markup.format`` escapes what is filled in: a message cannot bring its own tags."""

from collections.abc import Sequence

from markupsafe import Markup

from guestbook.entries import LONGEST_MESSAGE, LONGEST_NAME, Entry, InvalidEntry
from microweb import url_for

__all__ = ["render_book"]

PAGE = Markup("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guest book</title>
<style>
  body {{ font: 1.05rem/1.5 system-ui, sans-serif; max-width: 38rem; margin: 2rem auto; padding: 0 1rem; }}
  form {{ display: grid; gap: .75rem; margin-bottom: 2rem; }}
  label {{ display: grid; gap: .25rem; }}
  input, textarea, button {{ font: inherit; padding: .4rem .6rem; }}
  article {{ border-top: 1px solid #ccc; padding: .75rem 0; }}
  article p {{ margin: .25rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }}
  time {{ color: #666; font-size: .85rem; }}
  .problem {{ color: #b00020; }}
</style>
<h1>Guest book</h1>
<form method="post" action="{action}">
  <label>Your name
    <input name="name" value="{name}" maxlength="{longest_name}" required>{name_problem}
  </label>
  <label>Your message
    <textarea name="message" rows="3" maxlength="{longest_message}" required>
{message}</textarea>{message_problem}
  </label>
  <button>Sign</button>
</form>
{entries}
{older}
</html>
""")

ENTRY = Markup("""<article id="entry-{id}">
  <strong>{name}</strong> <time datetime="{signed_at}">{date}</time>
  <p>{message}</p>
</article>
""")

PROBLEM = Markup('<span class="problem" role="alert">{}</span>')
OLDER = Markup('<p><a href="{}">Older entries</a>')
NOBODY = Markup("<p>Nobody has signed yet.")


def render_book(entries: Sequence[Entry], count: int, refused: InvalidEntry | None = None) -> str:
    """The page: the form, with what was ``refused`` in it, and ``entries``; a full page holds ``count``."""
    fields = refused.fields if refused else {}
    problems = refused.problems if refused else {}
    return PAGE.format(
        action=url_for("pages.show"),
        name=fields.get("name", ""),
        message=fields.get("message", ""),
        name_problem=PROBLEM.format(problems["name"]) if "name" in problems else "",
        message_problem=PROBLEM.format(problems["message"]) if "message" in problems else "",
        longest_name=LONGEST_NAME,
        longest_message=LONGEST_MESSAGE,
        entries=Markup().join(map(render_entry, entries)) or NOBODY,
        older=OLDER.format(url_for("pages.show", before=entries[-1].id)) if len(entries) == count else "",
    )


def render_entry(entry: Entry) -> Markup:
    """One entry of the page."""
    return ENTRY.format(
        id=entry.id,
        name=entry.name,
        message=entry.message,
        signed_at=entry.signed_at,
        date=entry.signed_at[:10],
    )
