import asyncio
import sys

import click
import pytest

from microweb import App, Router, current_app, g


def run(app, *args, **options):
    options.setdefault("catch_exceptions", False)
    return app.test_cli_runner().invoke(args=args, **options)


# Commands of an app --------------------------------------------------------------------------------


def test_a_command_runs_in_the_apps_context():
    app = App("shop")

    @app.cli.command()
    def where():
        g.seen = True
        click.echo(current_app.import_name)

    assert run(app, "where").output == "shop\n"


def test_a_command_has_arguments_and_options():
    app = App("shop")

    @app.cli.command("add-user")
    @click.argument("name")
    @click.option("--admin", is_flag=True)
    def add_user(name, admin):
        """Add a user."""
        click.echo(f"{name} {admin}")

    assert run(app, "add-user", "ada", "--admin").output == "ada True\n"
    assert "add-user  Add a user." in run(app, "--help").output


def test_a_command_can_be_made_without_parentheses():
    app = App("shop")

    @app.cli.command
    async def where():
        click.echo(current_app.import_name)

    assert run(app, "where").output == "shop\n"


def test_a_command_made_by_click_and_added_later_runs_in_the_apps_context():
    app = App("shop")

    @click.command()
    @click.argument("name")
    def greet(name):
        click.echo(f"{current_app.import_name} greets {name}")

    app.cli.add_command(greet)

    assert run(app, "greet", "ada").output == "shop greets ada\n"


def test_a_group_made_by_click_runs_in_the_apps_context_with_what_it_was_given_later():
    app = App("shop")
    users = click.Group("users")
    app.cli.add_command(users)

    @users.command()
    async def count():
        click.echo(current_app.import_name)

    assert run(app, "users", "count").output == "shop\n"


def test_a_group_made_by_click_may_invoke_one_of_its_own_commands():
    app = App("shop")

    @click.group(invoke_without_command=True)
    @click.pass_context
    def users(ctx):
        if ctx.invoked_subcommand is None:
            ctx.invoke(ctx.command.commands["count"])

    @users.command()
    async def count():
        click.echo(current_app.import_name)

    app.cli.add_command(users)

    assert run(app, "users").output == run(app, "users", "count").output == "shop\n"


def test_a_group_that_finds_its_commands_lazily_runs_them_in_the_apps_context():
    app = App("shop")

    class Lazy(click.Group):
        def list_commands(self, ctx):
            return ["count"]

        def get_command(self, ctx, cmd_name):
            return count if cmd_name == "count" else None

    @click.command()
    async def count():
        """Count the users."""
        click.echo(current_app.import_name)

    app.cli.add_command(Lazy("users"))

    assert run(app, "users", "count").output == "shop\n"
    assert "count  Count the users." in run(app, "users", "--help").output
    assert run(app, "users", "nobody").exit_code == 2


def test_a_command_without_a_context_has_none():
    app = App("shop")

    @app.cli.command(with_context=False)
    def where():
        click.echo(bool(current_app))

    assert run(app, "where").output == "False\n"


def test_a_command_may_take_clicks_context():
    app = App("shop")

    @app.cli.command()
    @click.pass_context
    async def where(ctx):
        click.echo(f"{ctx.info_name} {click.get_current_context().info_name}")

    assert run(app, "where").output == "where where\n"


def test_a_group_in_the_group_runs_in_the_apps_context_too():
    app = App("shop")

    @app.cli.group()
    def users(): ...

    @users.command()
    async def count():
        click.echo(current_app.import_name)

    assert run(app, "users", "count").output == "shop\n"


def test_a_command_of_a_group_in_the_group_has_the_same_choices():
    app = App("shop")

    @app.cli.group
    def users(): ...

    @users.command(with_context=False)
    def where():
        click.echo(f"in no app: {not current_app}")

    assert run(app, "users", "where").output == "in no app: True\n"


def test_the_group_is_made_at_first_use():
    script = "import sys, microweb; app = microweb.App('x'); print('click' in sys.modules); app.cli; print(app.cli)"

    import subprocess

    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert output.startswith("False\n")


def test_the_group_can_be_called_as_it_stands():
    app = App("shop")

    @app.cli.command()
    def where():
        click.echo(current_app.import_name)

    result = click.testing.CliRunner().invoke(app.cli, ["where"], catch_exceptions=False)

    assert result.output == "shop\n"


@pytest.mark.parametrize("is_async", [True, False])
def test_a_command_is_torn_down_once_at_its_end(is_async):
    app, ends = App("shop"), []

    @app.on("context_torn_down")
    async def close(request, error):
        await asyncio.sleep(0)
        ends.append((g.name, current_app.import_name, request, error))

    async def work_later():
        g.name = "ada"

    def work():
        g.name = "ada"

    app.cli.command("work")(work_later if is_async else work)
    run(app, "work")

    assert ends == [("ada", "shop", None, None)]


@pytest.mark.parametrize("is_async", [True, False])
def test_the_error_of_a_command_is_told_at_its_end(is_async):
    app, errors = App("shop"), []
    app.on("context_torn_down")(lambda error: errors.append(error))

    async def work_later():
        raise ValueError("wrong")

    def work():
        raise ValueError("wrong")

    app.cli.command("work")(work_later if is_async else work)
    result = run(app, "work", catch_exceptions=True)

    assert errors == [result.exception]


# Coroutine functions -------------------------------------------------------------------------------


def with_pool(app):
    events = []

    @app.lifespan
    async def pool(app):
        events.append("open")
        app.state.pool = "pool"
        yield
        events.append("close")

    return events


def test_a_coroutine_function_runs_inside_the_lifespan():
    app = App("shop")
    events = with_pool(app)

    @app.cli.command()
    async def use():
        await asyncio.sleep(0)
        events.append(app.state.pool)

    run(app, "use")
    run(app, "use")

    assert events == ["open", "pool", "close"] * 2


@pytest.mark.parametrize("lifespan", [True, False])
def test_a_coroutine_function_is_torn_down_on_its_loop_before_the_lifespan_ends(lifespan):
    app = App("shop")
    events = with_pool(app)

    @app.on("context_torn_down")
    async def torn_down():
        events.append(g.loop is asyncio.get_running_loop())

    @app.cli.command(lifespan=lifespan)
    async def use():
        g.loop = asyncio.get_running_loop()

    run(app, "use")

    assert events == (["open", True, "close"] if lifespan else [True])


def test_the_lifespan_can_be_left_out():
    app = App("shop")
    events = with_pool(app)

    @app.cli.command(lifespan=False)
    async def migrate():
        events.append(current_app.import_name)

    run(app, "migrate")

    assert events == ["shop"]


def test_a_plain_function_runs_without_the_lifespan():
    app = App("shop")
    events = with_pool(app)
    app.cli.command("plain")(lambda: events.append("plain"))

    run(app, "plain")

    assert events == ["plain"]


def test_an_error_in_a_command_closes_the_lifespan_and_comes_out():
    app = App("shop")
    events = with_pool(app)

    @app.cli.command()
    async def fail():
        raise LookupError("no hat")

    with pytest.raises(LookupError, match="no hat"):
        run(app, "fail")
    assert events == ["open", "close"]


@pytest.mark.anyio
async def test_a_coroutine_function_runs_under_a_running_loop_too():
    app = App("shop")
    events = with_pool(app)

    @app.cli.command()
    async def use():
        click.echo(f"{current_app.import_name} {click.get_current_context().info_name}")

    assert run(app, "use").output == "shop use\n"
    assert events == ["open", "close"]


# Commands of routers -------------------------------------------------------------------------------


def test_a_router_has_a_group_of_its_name():
    app, blog = App("shop"), Router("blog")

    @blog.cli.command()
    async def publish():
        click.echo(f"published in {current_app.import_name}")

    app.mount("/blog", blog)

    assert run(app, "blog", "publish").output == "published in shop\n"
    assert "Commands of blog." in run(app, "--help").output


def test_the_group_has_the_name_that_the_router_is_mounted_with():
    app, blog = App("shop"), Router("blog")
    blog.cli.command("publish")(lambda: click.echo("published"))
    app.mount("/news", blog, name="news")

    assert run(app, "news", "publish").output == "published\n"
    assert run(app, "blog", "publish").exit_code == 2


def test_a_router_in_a_router_has_its_group_in_that_ones():
    app, blog, comments, quiet = App("shop"), Router("blog"), Router("comments"), Router("quiet")
    comments.cli.command("count")(lambda: click.echo("7"))
    app.mount("", blog)
    app.mount("", quiet)
    blog.mount("", comments)

    assert run(app, "blog", "comments", "count").output == "7\n"
    assert "quiet" not in run(app, "--help").output


def test_routers_that_are_mounted_in_a_circle_do_not_keep_the_help_from_being_shown():
    app, blog, comments = App("shop"), Router("blog"), Router("comments")
    app.mount("", blog)
    blog.mount("/comments", comments)
    comments.mount("/blog", blog)
    app.cli.command("where")(lambda: None)

    assert "where" in run(app, "--help").output


def test_the_commands_of_a_mounted_app_are_its_own():
    app, inner = App("shop"), App("inner")
    inner.cli.command("count")(lambda: None)
    app.mount("/inner", inner, name="inner")

    assert app.cli.list_commands(click.Context(app.cli)) == []


def test_the_group_of_a_router_is_no_apps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blog = Router("blog")
    blog.cli.command("publish")(lambda: click.echo("published"))

    result = click.testing.CliRunner().invoke(blog.cli, ["publish"])

    assert "Error: there is no app in " in result.output


def test_the_runner_of_an_app_runs_the_group_of_another_in_its_own_context():
    app, other = App("shop"), App("other")
    other.cli.command("where")(lambda: click.echo(current_app.import_name))

    assert app.test_cli_runner().invoke(other.cli, ["where"]).output == "shop\n"


def test_a_router_without_commands_makes_no_group():
    app, quiet = App("shop"), Router("quiet")
    app.mount("", quiet)

    run(app, "--help")

    assert quiet._cli is None
