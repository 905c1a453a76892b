"""Hello: the smallest program, started as a program, which follows its file."""

import pytest

from tests.programs import Program, get, wait_until, write

pytestmark = pytest.mark.wire

HELLO = """
    from microweb import App

    app = App(__name__)


    @app.route("/")
    def hello():
        return "Hello, World!"


    if __name__ == "__main__":
        app.run(debug=True, port=0)
"""


@pytest.mark.slow
def test_the_program_serves_and_shows_an_edit(tmp_path):
    path = write(tmp_path / "app.py", HELLO)
    with Program("app.py", cwd=tmp_path) as program:
        assert get(program.url) == "Hello, World!"

        path.write_text(path.read_text().replace("World", "microweb"))

        wait_until(lambda: get(program.url) == "Hello, microweb!", "the new answer")
        program.interrupt()
        assert program.wait() == 0
    assert "debug on, reloads on change" in program.output


def test_microweb_run_finds_the_same_program(tmp_path):
    write(tmp_path / "app.py", HELLO)

    with Program("-m", "microweb", "run", "--port", "0", cwd=tmp_path) as program:
        assert get(program.url) == "Hello, World!"
