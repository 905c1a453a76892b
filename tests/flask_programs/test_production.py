"""Production: the program under gunicorn with four workers, under uvicorn, and behind nginx.

What a container runs is the same start line; see the tests of ``microweb new`` for its files.
"""

import importlib.util
import json
import os
import shutil
import signal
import urllib.request

import pytest

import microweb
from tests.programs import DEADLINE, Program, find_free_port, get, wait_until, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.wire,
    pytest.mark.skipif(os.name != "posix", reason="gunicorn and the signals are POSIX's"),
]

REQUIRED = os.environ.get("MICROWEB_REQUIRE_SERVICES") == "1"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None and not REQUIRED, reason="there is no nginx on the PATH")
needs_gunicorn = pytest.mark.skipif(
    importlib.util.find_spec("gunicorn") is None and not REQUIRED,
    reason="gunicorn is not installed (pip install gunicorn uvicorn-worker)",
)
APP = """
    import os

    from microweb import App, request, session, url_for

    app = App(__name__)
    app.secret_key = "a secret key for the tests of this program"


    @app.route("/")
    def home():
        return f"Hello from {os.getpid()}!"


    @app.route("/seen")
    async def seen():
        return {"url": url_for("home", _external=True), "from": request.remote_addr, "scheme": request.scheme}


    @app.post("/data")
    async def data():
        session["sent"] = True
        return {"received": await request.json()}
"""
CONFIG = """
    daemon off;
    {user}
    pid nginx.pid;
    error_log stderr;
    events {{}}
    http {{
        access_log off;
        client_body_temp_path body;
        proxy_temp_path proxy;
        fastcgi_temp_path fastcgi;
        uwsgi_temp_path uwsgi;
        scgi_temp_path scgi;
        upstream app {{
            server 127.0.0.1:{upstream};
            keepalive 16;
        }}
        server {{
            listen 127.0.0.1:{port};
            client_max_body_size 16m;
            location / {{
                proxy_pass http://app;
                proxy_http_version 1.1;
                proxy_set_header Host shop.example;
                proxy_set_header X-Forwarded-For 192.0.2.7;
                proxy_set_header X-Forwarded-Proto https;
                proxy_set_header Connection "";
            }}
            location /static/ {{
                alias {static}/;
            }}
        }}
    }}
"""


def serve(folder, *arguments):
    """``python -m ARGUMENTS`` in the program's folder."""
    write(folder / "app.py", APP)
    return Program("-m", *arguments, cwd=folder)


def post(url, value):
    """What the program says that it received, and the headers of its answer."""
    request = urllib.request.Request(url, json.dumps(value).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.loads(answer.read())["received"], answer.headers


@needs_gunicorn
@pytest.mark.parametrize(
    ("worker", "ready"),
    [("uvicorn_worker.UvicornWorker", "Application startup complete"), ("asgi", "ASGI server listening")],
)
def test_gunicorn_serves_it_with_four_workers(tmp_path, worker, ready):
    port = find_free_port()
    line = ("gunicorn", "-w", "4", "-k", worker, "-b", f"127.0.0.1:{port}", "app:app")
    with serve(tmp_path, *line) as program:
        # Not "Booting worker": a SIGTERM that comes before a worker's handlers is lost, with any app, and gunicorn
        # waits for its graceful timeout of 30 seconds.
        program.wait_for(ready, 4)
        answers = {get(f"http://127.0.0.1:{port}/")}
        wait_until(lambda: answers.add(get(f"http://127.0.0.1:{port}/")) or len(answers) > 1, "a second worker")
        value, headers = post(f"http://127.0.0.1:{port}/data", {"name": "Ada"})

        program.process.send_signal(signal.SIGTERM)
        assert program.wait() == 0

    assert value == {"name": "Ada"}
    assert headers["set-cookie"].startswith("session=")
    assert "Traceback" not in program.output


def test_uvicorn_serves_it(tmp_path):
    port = find_free_port()
    with serve(tmp_path, "uvicorn", "app:app", "--port", port, "--workers", "2") as program:
        answer = get(f"http://127.0.0.1:{port}/")
        value, _ = post(f"http://127.0.0.1:{port}/data", [1, 2, 3])

    assert answer.startswith("Hello from ")
    assert value == [1, 2, 3]
    assert "Traceback" not in program.output


@pytest.fixture
def nginx(tmp_path):
    """The port of an nginx, and the port of the server behind it."""
    assert NGINX is not None
    port, upstream = find_free_port(), find_free_port()
    static = write(tmp_path / "static" / "site.css", "p {}").parent
    user = "user root;" if os.geteuid() == 0 else ""
    config = CONFIG.format(port=port, upstream=upstream, static=static, user=user)
    write(tmp_path / "nginx.conf", config)
    start = f"import os; os.execv({NGINX!r}, ['nginx', '-p', '.', '-c', 'nginx.conf', '-e', 'stderr'])"
    with Program("-c", start, cwd=tmp_path):
        yield port, upstream


@needs_nginx
def test_behind_nginx_it_knows_its_visitor_and_its_own_address(tmp_path, nginx):
    port, upstream = nginx
    line = ("uvicorn", "app:app", "--port", upstream, "--proxy-headers", "--forwarded-allow-ips", "127.0.0.1")
    with serve(tmp_path, *line):
        get(f"http://127.0.0.1:{upstream}/")

        seen = json.loads(get(f"http://127.0.0.1:{port}/seen"))
        value, headers = post(f"http://127.0.0.1:{port}/data", "x" * 100_000)
        style = get(f"http://127.0.0.1:{port}/static/site.css")

    assert seen == {"url": "https://shop.example/", "from": "192.0.2.7", "scheme": "https"}
    assert value == "x" * 100_000
    assert "Secure" in headers["set-cookie"]
    assert style.strip() == "p {}"


@needs_nginx
def test_what_nginx_says_is_not_believed_unless_it_is_named(tmp_path, nginx):
    port, upstream = nginx
    with serve(tmp_path, "uvicorn", "app:app", "--port", upstream, "--no-proxy-headers"):
        get(f"http://127.0.0.1:{upstream}/")

        seen = json.loads(get(f"http://127.0.0.1:{port}/seen"))

    assert seen == {"url": "http://shop.example/", "from": "127.0.0.1", "scheme": "http"}


def test_the_version_is_told(tmp_path):
    with Program("-m", "microweb", "--version", cwd=tmp_path) as program:
        assert program.wait() == 0

    assert program.output.startswith(f"microweb {microweb.__version__}")
