"""Errors as pages that look like the others. The API leaves its own errors to microweb, which has JSON for programs."""

from microweb import App, HTTPException, current_app, render_template

__all__ = ["add_error_pages"]


def add_error_pages(app: App) -> None:
    """Answer every error of an app with a page, unless a router has an answer of its own."""
    app.errorhandler(HTTPException)(show_error)


def show_error(error: HTTPException) -> tuple[str, int, dict[str, str]] | HTTPException:
    """The page of an error. To return the error itself leaves a bug to microweb's debugger."""
    if error.status == 500 and current_app.debug:
        return error
    return render_template("error.html", error=error), error.status, dict(error.headers or {})
