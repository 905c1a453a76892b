"""Accounts: register, log in, a decorator that sends strangers to the login, and a command that makes the tables."""

import sqlite3
from functools import wraps

import click
import pytest
from werkzeug.security import check_password_hash, generate_password_hash

from microweb import (
    App,
    Router,
    current_app,
    flash,
    g,
    redirect,
    render_template_string,
    request,
    session,
    url_for,
)
from microweb.testing import SyncClient

PAGE = "{% for message in get_flashed_messages() %}[{{ message }}]{% endfor %} {{ title }}"
accounts = Router("accounts", __name__, prefix="/accounts")


def connection():
    if "connection" not in g:
        g.connection = sqlite3.connect(current_app.config["DATABASE"])
    return g.connection


def close_connection(error=None):
    found = g.pop("connection", None)
    if found is not None:
        found.close()


@click.command("make-tables")
def make_tables():
    with connection() as database:
        database.execute("CREATE TABLE user (name TEXT PRIMARY KEY, password TEXT)")
    close_connection()
    click.echo("made")


@accounts.route("/register", methods=("GET", "POST"))
def register():
    if request.method == "POST":
        name, password = request.form["name"], generate_password_hash(request.form["password"])
        try:
            with connection() as database:
                database.execute("INSERT INTO user VALUES (?, ?)", (name, password))
        except sqlite3.IntegrityError:
            flash(f"{name} is taken")
        else:
            return redirect(url_for("accounts.login"))
    return render_template_string(PAGE, title="register")


@accounts.route("/login", methods=("GET", "POST"))
def login():
    if request.method == "POST":
        name = request.form["name"]
        row = connection().execute("SELECT password FROM user WHERE name = ?", (name,)).fetchone()
        if row is not None and check_password_hash(row[0], request.form["password"]):
            session.clear()
            session["name"] = name
            return redirect(url_for("home"))
        flash("wrong")
    return render_template_string(PAGE, title="login")


def login_required(view):
    @wraps(view)
    def guarded(**values):
        return view(**values) if g.name else redirect(url_for("accounts.login"))

    return guarded


def create_app(database):
    app = App(__name__)
    app.config.from_mapping(SECRET_KEY="a secret of the login program", DATABASE=str(database))
    app.teardown_request(close_connection)
    app.cli.add_command(make_tables)

    @app.before_request
    def find_user():
        g.name = session.get("name")

    @app.route("/", endpoint="home")
    def show_home():
        return render_template_string("Hello {{ g.name or 'stranger' }}")

    @app.route("/<int:number>/edit")
    @login_required
    def edit(number):
        return f"edit {number}"

    app.mount("", accounts)
    return app


@pytest.fixture
def client(tmp_path):
    app = create_app(tmp_path / "users.db")
    assert app.test_cli_runner().invoke(args=["make-tables"], catch_exceptions=False).output == "made\n"
    with SyncClient(app, follow_redirects=True) as client:
        yield client


ADA = {"name": "ada", "password": "lovelace"}


def test_a_stranger_is_sent_to_the_login(client):
    assert client.get("/3/edit").text.strip() == "login"


def test_who_registered_can_log_in(client):
    assert client.post("/accounts/register", data=ADA).text.strip() == "login"
    assert client.post("/accounts/login", data=ADA).text == "Hello ada"
    assert client.get("/3/edit").text == "edit 3"


def test_a_name_is_taken_once(client):
    client.post("/accounts/register", data=ADA)

    assert "[ada is taken]" in client.post("/accounts/register", data=ADA).text


def test_a_wrong_password_is_refused(client):
    client.post("/accounts/register", data=ADA)

    assert "[wrong]" in client.post("/accounts/login", data=ADA | {"password": "byron"}).text
    assert client.get("/").text == "Hello stranger"
