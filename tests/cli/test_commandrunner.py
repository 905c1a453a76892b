import click

from microweb import App, current_app


def test_it_runs_the_apps_commands_with_input_and_environment():
    app = App("shop")

    @app.cli.command()
    @click.option("--size", envvar="SIZE")
    def ask(size):
        click.echo(f"{click.prompt('name')} {size}")

    result = app.test_cli_runner().invoke(args=["ask"], input="ada\n", env={"SIZE": "7"})

    assert result.output.endswith("ada 7\n")


def test_it_runs_any_other_command_with_the_app_in_place():
    app = App("shop")

    @app.cli.command()
    def where():
        click.echo(current_app.import_name)

    assert app.test_cli_runner().invoke(where).output == "shop\n"


def test_it_keeps_an_exception_of_the_command():
    app = App("shop")
    app.cli.command("fail")(lambda: 1 / 0)

    result = app.test_cli_runner().invoke(args=["fail"])

    assert isinstance(result.exception, ZeroDivisionError)
    assert result.exit_code == 1


def test_its_options_are_clicks():
    app = App("shop")

    assert app.test_cli_runner(env={"A": "1"}).env == {"A": "1"}
