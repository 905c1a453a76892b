"""The parent and its children, with children that serve nothing and write down what happens to them."""

import os
import signal
import socket
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from microweb.filewatch import FileWatch
from microweb.supervisor import MARK, Child, Supervisor, can_run_again, command_line
from tests.programs import Program, is_running, wait_until, write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="children inherit sockets on POSIX systems only")

CHILD = """
    import os, signal, sys, time
    from microweb.supervisor import Child

    def tell(word):
        with open("told", "a") as file:
            file.write(f"{word} {os.getpid()}\\n")

    child = Child.find()
    child.follow_parent()
"""


def write_child(folder, script):
    return write(folder / "child.py", textwrap.dedent(CHILD) + script)


class Family:
    """A supervisor in a thread, and what its children have told."""

    def __init__(self, folder, script, **options):
        self.folder = folder
        command = [sys.executable, str(write_child(folder, script))]
        self.supervisor = Supervisor(command, options.pop("listener", None), **options)
        self.code = None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        os.chdir(self.folder)
        self.code = self.supervisor.run()

    def pids(self, word):
        """The processes that have told ``word``, in that order."""
        told = self.folder / "told"
        lines = told.read_text().splitlines() if told.exists() else []
        return [int(line.split()[1]) for line in lines if line.split()[0] == word]

    def wait_for(self, word, count=1):
        return wait_until(lambda: len(self.pids(word)) >= count and self.pids(word), word)

    def join(self):
        self.thread.join(90)
        assert not self.thread.is_alive()
        return self.code


@contextmanager
def family(tmp_path, monkeypatch, script, **options):
    monkeypatch.chdir(tmp_path)
    found = Family(tmp_path, script, **options)
    found.thread.start()
    try:
        yield found
    finally:
        found.supervisor.stop()
        found.join()
        assert not any(map(is_running, found.pids("started")))


SERVING = """
tell("first" if child.is_first else "again")
child.tell_started(30)
tell("started")
while True:
    time.sleep(60)
"""


# Several workers -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_other_workers_are_started_when_the_first_has(tmp_path, monkeypatch):
    with family(tmp_path, monkeypatch, SERVING, workers=3) as found:
        pids = found.wait_for("started", 3)

    assert found.code == 0
    assert found.pids("first") == pids[:1]
    assert len(set(pids)) == 3


def test_a_worker_that_cannot_start_ends_all_with_code_1(tmp_path, monkeypatch):
    script = "tell('began'); time.sleep(1); sys.exit(7)"  # Longer than the supervisor's ticks.
    with family(tmp_path, monkeypatch, script, workers=3) as found:
        assert found.join() == 1

    assert len(found.pids("began")) == 1


@pytest.mark.slow
def test_a_worker_that_dies_later_is_replaced(tmp_path, monkeypatch, capfd):
    with family(tmp_path, monkeypatch, SERVING, workers=2) as found:
        pids = found.wait_for("started", 2)

        os.kill(pids[1], signal.SIGKILL)

        assert found.wait_for("started", 3)[2] not in pids
    assert f"worker {pids[1]} ended with code -9" in capfd.readouterr().err


@pytest.mark.slow
def test_a_worker_that_dies_as_soon_as_it_serves_is_replaced_once_a_second(tmp_path, monkeypatch):
    began = time.monotonic()
    with family(tmp_path, monkeypatch, "child.tell_started(30); tell('served'); sys.exit(3)") as found:
        found.wait_for("served", 4)

    assert time.monotonic() - began >= 3


def test_a_child_that_has_not_started_yet_is_stopped_too(tmp_path, monkeypatch):
    with family(tmp_path, monkeypatch, "tell('began')\nwhile True:\n    time.sleep(60)\n") as found:
        found.wait_for("began")

    assert found.code == 0


def test_a_child_that_does_not_stop_is_killed_when_its_time_is_over(tmp_path, monkeypatch):
    script = SERVING.replace("tell_started(30)", "tell_started(0.2)")
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + script

    with family(tmp_path, monkeypatch, ignoring) as found:
        found.wait_for("started")

    assert found.code == 0


@pytest.mark.slow
def test_several_that_do_not_stop_take_no_longer_than_one(tmp_path, monkeypatch, capfd):
    script = SERVING.replace("tell_started(30)", "tell_started(3)")
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + script

    with family(tmp_path, monkeypatch, ignoring, workers=3) as found:
        found.wait_for("started", 3)
        began = time.monotonic()
        found.supervisor.stop()
        found.join()
        took = time.monotonic() - began

    assert 3 <= took < 6
    assert capfd.readouterr().err.count("has not stopped within 3 s and is killed") == 3


# Following changes ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_change_starts_the_child_again(tmp_path, monkeypatch, capfd):
    write(tmp_path / "app.py", "one")
    watch = FileWatch([tmp_path])
    with family(tmp_path, monkeypatch, SERVING, watch=watch) as found:
        (before,) = found.wait_for("started")

        write(tmp_path / "app.py", "other")
        write(tmp_path / "more.py", "more")

        found.wait_for("started", 2)
        wait_until(lambda: not is_running(before))
    assert found.pids("first") == [before]
    assert " changed; starting again" in capfd.readouterr().err


@pytest.mark.slow
def test_a_child_that_fails_is_started_again_after_a_change(tmp_path, monkeypatch, capfd):
    write(tmp_path / "app.py", "sys.exit(3)")
    script = "tell('began')\nexec(open('app.py').read())\n"
    with family(tmp_path, monkeypatch, script + SERVING, watch=FileWatch([tmp_path])) as found:
        found.wait_for("began")
        wait_until(lambda: found.supervisor.processes == [None])

        write(tmp_path / "app.py", "pass")

        (pid,) = found.wait_for("started")
    assert found.pids("first") == [pid], "nobody has announced the address before"
    assert "ended with code 3; waiting for a change" in capfd.readouterr().err


@pytest.mark.slow
def test_a_child_that_ends_well_ends_the_parent(tmp_path, monkeypatch):
    with family(tmp_path, monkeypatch, "tell('ended')", watch=FileWatch([tmp_path])) as found:
        assert found.join() == 0


# Both sides ----------------------------------------------------------------------------------------


def test_the_child_has_the_listening_socket(tmp_path, monkeypatch):
    script = "connection, _ = child.listener.accept()\nconnection.sendall(b'hello')\nconnection.close()\n"
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        family(tmp_path, monkeypatch, script + SERVING, listener=listener),
        socket.create_connection(listener.getsockname(), 90) as connection,
    ):
        assert connection.recv(5) == b"hello"


def test_the_child_has_the_environment_that_was_given(tmp_path, monkeypatch):
    environ = {**os.environ, "SHOP": "hats"}
    script = "tell(os.environ['SHOP']); tell(str('_MICROWEB_CHILD' in os.environ))\n"
    with family(tmp_path, monkeypatch, script + SERVING, environ=environ) as found:
        found.wait_for("started")

    assert found.pids("hats")
    assert found.pids("False")


def test_the_child_ends_when_the_parent_is_killed(tmp_path):
    write_child(tmp_path, SERVING)
    parent = """
        import sys
        from microweb.supervisor import Supervisor
        Supervisor([sys.executable, "child.py"], None).run()
    """
    with Program(write(tmp_path / "parent.py", parent), cwd=tmp_path) as program:
        told = tmp_path / "told"
        wait_until(lambda: told.exists() and "started" in told.read_text())
        pid = int(told.read_text().split()[-1])

        program.process.kill()

        wait_until(lambda: not is_running(pid))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_parent_and_the_children(tmp_path, number):
    write_child(tmp_path, SERVING)
    parent = """
        import sys
        from microweb.supervisor import Supervisor
        sys.exit(Supervisor([sys.executable, "child.py"], None, workers=2).run())
    """
    with Program(write(tmp_path / "parent.py", parent), cwd=tmp_path) as program:
        told = tmp_path / "told"
        wait_until(lambda: told.exists() and told.read_text().count("started") == 2)

        program.process.send_signal(number)

        assert program.wait() == 0
    assert not any(is_running(int(line.split()[1])) for line in told.read_text().splitlines())


@pytest.mark.parametrize("changed", [set(), {"app.py"}], ids=["nothing", "a file"])
def test_that_a_child_ends_by_the_ctrl_c_that_ends_the_parent_is_no_news(tmp_path, capfd, changed):
    class Interrupted(FileWatch):
        def wait(self):
            supervisor.processes[0].process.wait()
            supervisor.stop()
            return changed

    supervisor = Supervisor([sys.executable, "-c", "raise SystemExit(3)"], None, watch=Interrupted([tmp_path]))

    assert supervisor.run() == 0
    assert capfd.readouterr().err == ""


def test_the_handlers_of_signals_are_put_back(tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    command = [sys.executable, "-c", "pass"]

    assert Supervisor(command, None, watch=FileWatch([tmp_path])).run() == 0

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# What a child is given -----------------------------------------------------------------------------


def test_what_the_parent_has_printed_comes_before_what_its_child_prints(tmp_path):
    parent = """
        import sys
        from microweb.filewatch import FileWatch
        from microweb.supervisor import Supervisor
        print("the parent")
        Supervisor([sys.executable, "-c", "print('the child')"], None, watch=FileWatch(["."])).run()
    """
    with Program(write(tmp_path / "parent.py", parent), cwd=tmp_path, PYTHONUNBUFFERED="") as program:
        assert program.wait() == 0

    assert program.output == "the parent\nthe child\n"


def test_a_process_without_the_mark_is_no_child(monkeypatch):
    monkeypatch.delenv(MARK, raising=False)

    assert Child.find() is None


def test_the_mark_of_another_process_is_taken_away_and_not_obeyed(monkeypatch):
    monkeypatch.setenv(MARK, f"{os.getpid()},-1,-1,1")  # our own number: we are the grandchild's parent

    assert Child.find() is None
    assert MARK not in os.environ


def test_a_child_tells_its_parent_that_it_has_started(monkeypatch):
    ours, theirs = socket.socketpair()
    with ours:
        monkeypatch.setenv(MARK, f"{os.getppid()},-1,{theirs.detach()},0")
        child = Child.find()

        child.tell_started(2.5)

        assert ours.recv(64) == b"2.5\n"
        assert (child.listener, child.is_first) == (None, False)
    child.tell_started(2.5)  # to nobody
    child._channel.close()


def test_a_child_without_a_channel_has_nobody_to_tell():
    child = Child(None, None, is_first=True)

    child.follow_parent()
    child.tell_started(1)


def test_a_child_gets_a_sigterm_when_its_parent_has_gone():
    caught = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: caught.set())
    ours, theirs = socket.socketpair()
    try:
        child = Child(None, theirs, is_first=True)
        child.follow_parent()
        ours.send(b"a word")

        ours.close()

        assert wait_until(caught.is_set)
    finally:
        signal.signal(signal.SIGTERM, before)
        theirs.close()


@pytest.mark.parametrize(("first", "can"), [("app.py", True), ("-c", True), ("", False), ("-", False)])
def test_a_program_from_a_file_can_run_again(monkeypatch, first, can):
    monkeypatch.setattr(sys, "argv", [first])

    assert can_run_again() is can


def test_a_prompt_cannot_run_again(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)

    assert not can_run_again()


def test_where_no_one_knows_what_python_this_is_it_cannot_run_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app.py"])
    monkeypatch.setattr(sys, "executable", "")

    assert not can_run_again()


def test_the_command_line_has_the_options_of_python_too(tmp_path):
    script = "from microweb.supervisor import command_line; print(*command_line()[1:])"
    path = write(tmp_path / "line.py", script)

    with Program("-X", "utf8", "line.py", "--port", "1", cwd=tmp_path) as program:
        assert program.wait() == 0

    assert program.output == "-X utf8 line.py --port 1\n"
    assert Path(command_line()[0]) == Path(sys.executable)
    assert path.exists()
