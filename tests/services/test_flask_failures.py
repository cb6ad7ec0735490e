"""Flask applications that cannot be served, or not any more: what is said, and what is left."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from tests.support.projects import Project, Result
from tests.support.serving import APP, Serving, declare, free_port, get, left, state, write
from tests.support.waiting import wait

pytestmark = pytest.mark.network


def test_no_application(served: Project, port: int) -> None:
    # gunicorn ends with 4, or with 1 if a second worker fails while it ends for the first.
    declare(served, {"web": ['kind = "flask"', f"port = {port}", "workers = 1"]})
    with Serving(served) as serving:
        assert serving.ended() == 4
    assert "Could not locate a Flask application" in serving.out
    said = "web did not start: it ended with exit code 4: Could not locate a Flask application"
    assert said in serving.err
    assert "`envkit logs web`" in serving.err
    result = served.envkit("serve", "--detach")
    assert result.code == 4
    assert "Could not locate a Flask application" in result.err
    assert left(served) == []
    assert state(served, "web") == "failed"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["port = 0"], "services.web.port"),
        (["workers = 0"], "services.web.workers"),
        (['health = "health"'], "services.web.health"),
        (["gpus = -1"], "services.web.gpus"),
        (['start_timeout = "soon"'], "services.web.start_timeout"),
        (['host = "192.0.2.1"'], "cannot listen on 192.0.2.1"),
        (["port_ = 1"], "services.web.port_: unknown key"),
        (['models = "x"'], "services.web.models: unknown key"),
    ],
)
def test_what_is_said_wrongly(served: Project, lines: Sequence[str], words: str) -> None:
    declare(served, {"web": ['kind = "flask"', *lines]})
    result = served.envkit("serve")
    assert result.code == 2, result.text
    assert words in result.err


def test_what_is_not_there(served: Project, port: int) -> None:
    result = served.envkit("serve")
    assert result.code == 2
    assert "[services.web]" in result.err
    declare(served, {"web": ['kind = "flask"']})
    assert "There is no service x" in served.envkit("serve", "x").err
    assert "There is no service x" in served.envkit("stop", "x").err
    declare(served, {"web": ['kind = "django"']})
    assert "is not one of flask, tensorflow-serving" in served.envkit("serve").err
    declare(served, {name: ['kind = "flask"', f"port = {port}"] for name in ("one", "two")})
    assert f"Two services are to listen on 127.0.0.1:{port}" in served.envkit("serve").err


def test_what_the_lock_lacks(served: Project) -> None:
    declare(served, {"web": ['kind = "flask"']})
    lock = served.root / "requirements.txt"
    lock.write_text(lock.read_text().replace("gunicorn==", "gunicornish=="))
    result = served.envkit("serve")
    assert result.code == 2
    assert "services.web needs gunicorn, which is not in the lock" in result.err
    assert "Add the line `gunicorn` to requirements.in" in result.err


def test_somebody_else_listens_there(web: Project, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        result = web.envkit("serve")
    assert result.code == 2
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in result.err


def test_one_that_is_not_well(served: Project, port: int) -> None:
    lines = ['kind = "flask"', f"port = {port}", 'health = "/absent"', 'start_timeout = "2s"']
    declare(served, {"web": lines})
    write(served, app=APP)
    result = served.envkit("serve")
    assert result.code == 4
    assert "web did not start: it was not ready within 2 s: GET /absent answered 404" in result.err
    assert left(served) == []


def test_one_that_ends_by_itself(web: Project, port: int) -> None:
    with Serving(web) as serving:
        serving.until_ready("web")
        get(port, "/crash")
        assert serving.ended() == 4
    assert "web failed: it was ended by signal 9" in serving.err
    assert left(web) == []


def test_its_supervisor_is_killed(web: Project, port: int) -> None:
    with Serving(web) as serving:
        serving.until_ready("web")
        serving.process.kill()
        serving.ended()
    wait(lambda: left(web) == [], "the kernel ends what it supervised")
    assert state(web, "web") == "killed"
    assert "web was killed" in web.succeed("stop").err
    assert state(web, "web") == "stopped"
    with Serving(web) as serving:
        serving.until_ready("web")
        assert get(port) == (200, "hello")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise SystemExit('no model here')", "it ended itself: no model here"),
        ("import absent_module", "No module named 'absent_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def create_app():\n    raise OSError('no disk')\n", "OSError: no disk"),
    ],
)
def test_one_that_cannot_be_loaded(served: Project, port: int, text: str, reason: str) -> None:
    """It is not tried again and again, and the reason is in the error."""
    declare(served, {"web": ['kind = "flask"', f"port = {port}"]})
    write(served, app=text)
    result = served.envkit("serve", "--detach")
    assert result.code == 4
    (error,) = (line for line in result.err.splitlines() if line.startswith("error: "))
    assert reason in error
    assert left(served) == []


def test_stopped_before_it_is_ready(served: Project, port: int) -> None:
    lines = ['kind = "flask"', f"port = {port}", 'health = "/absent"']
    declare(served, {"web": lines})
    write(served, app=APP)
    with Serving(served) as serving:
        wait(lambda: state(served, "web") == "starting", "it is started")
        time.sleep(1)
        begun = time.monotonic()
        assert serving.stop() == 130
        assert time.monotonic() - begun < 15
    assert left(served) == []


def test_nobody_reads_any_more(web: Project, port: int) -> None:
    """As in `envkit serve | head -1`: the services are stopped as they should be."""
    with Serving(web) as serving:
        assert serving.process.stdout
        serving.process.stdout.readline()
        serving.process.stdout.close()
        serving.process.stdout = None
        wait(lambda: state(web, "web") != "starting", "it is ready")
        get(port)
        assert serving.ended() in (0, 130)
    assert "web stopped (" in serving.err
    assert left(web) == []


def test_options_that_are_not_for_a_project_to_say(served: Project) -> None:
    for option in ("--bind=0.0.0.0:9", "-b", "--daemon"):
        declare(served, {"web": ['kind = "flask"', f'options = ["{option}"]']})
        result = served.envkit("serve")
        assert result.code == 2
        assert "is not for this to say" in result.err


def test_settings_that_change_nothing_of_the_environment_are_no_reason_to_warn(
    web: Project,
) -> None:
    result = web.succeed("run", "--", "true")
    assert result.err == ""
    web.root.joinpath("requirements.txt").write_text("")
    assert "run `envkit install`" in web.envkit("run", "--", "true").err


def test_the_terminal_that_is_held_holds_no_service(web: Project, port: int) -> None:
    """As by Ctrl-S, or a pager that waits for its user: nobody reads what is printed."""
    write(
        web,
        app=APP + "\n@app.get('/flood')\ndef flood():\n    print('x' * 500_000)\n    return ''\n",
    )
    with Serving(web) as serving:
        serving.until_ready("web")
        for _ in range(4):
            assert get(port, "/flood") == (200, "")
        assert get(port) == (200, "hello")
        os.killpg(serving.process.pid, signal.SIGINT)
        wait(lambda: state(web, "web") == "stopped", "it is stopped")
        assert serving.ended() == 0
    assert left(web) == []


def test_an_answer_without_end(served: Project, port: int) -> None:
    declare(served, {"web": ['kind = "flask"', f"port = {port}"]})
    write(
        served,
        app=(
            "import itertools, time\nfrom flask import Flask\napp = Flask(__name__)\n"
            "@app.get('/')\ndef index():\n"
            "    return (time.sleep(0.2) or 'x' for _ in itertools.count())\n"
        ),
    )
    with Serving(served) as serving:
        serving.until_ready("web")
        assert serving.stop() == 0


def test_one_that_failed_can_be_started_while_others_go_on(served: Project) -> None:
    ports = {name: free_port() for name in ("one", "two")}
    declare(served, {name: ['kind = "flask"', f"port = {port}"] for name, port in ports.items()})
    write(served, app=APP)
    served.succeed("serve", "--detach")
    get(ports["one"], "/crash")
    wait(lambda: state(served, "one") == "failed", "it has ended")
    assert get(ports["one"]) == (0, "ConnectionRefusedError")
    served.succeed("serve", "one", "--detach")
    assert get(ports["one"]) == (200, "hello")
    served.succeed("stop")
    assert left(served) == []


def test_helpers_in_sessions_of_their_own_are_ended(served: Project, port: int) -> None:
    declare(served, {"web": ['kind = "flask"', f"port = {port}"]})
    helper = "import subprocess\nsubprocess.Popen(['sleep', '311'], start_new_session=True)\n"
    write(served, app=helper + APP)
    served.succeed("serve", "--detach")
    assert get(port) == (200, "hello")
    served.succeed("stop")
    assert left(served) == []
    assert get(port) == (0, "ConnectionRefusedError")


def test_a_request_goes_on_when_the_supervisor_is_killed(web: Project, port: int) -> None:
    with Serving(web) as serving:
        serving.until_ready("web")
        slow = threading.Thread(target=get, args=(port, "/slow/60"))
        slow.start()
        time.sleep(0.5)
        serving.process.kill()
        serving.ended()
    assert "web was killed" in web.succeed("stop").err
    assert left(web) == []
    slow.join()


def test_one_of_several_is_stopped_while_another_starts(served: Project) -> None:
    ports = {name: free_port() for name in ("one", "two")}
    tables = {name: ['kind = "flask"', f"port = {port}"] for name, port in ports.items()}
    tables["two"] += ['app = "slow_one:app"']
    declare(served, tables)
    write(served, app=APP, slow_one=f"import time\ntime.sleep(6)\n{APP}")
    found: list[Result] = []
    starting = threading.Thread(
        target=lambda: found.append(served.envkit("serve", "--detach", "--json"))
    )
    starting.start()
    wait(lambda: state(served, "one") == "ready", "one is ready")
    served.succeed("stop", "one")
    starting.join(60)
    assert [(one["name"], one["state"]) for one in found[0].json] == [
        ("one", "stopped"),
        ("two", "ready"),
    ]
    served.succeed("stop")


def test_the_caller_s_own_files_are_not_inherited(web: Project, port: int) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    command = [sys.executable, "-m", "envkit", "serve", "--detach"]
    subprocess.run(
        command, cwd=web.root, env=web.machine.environ, pass_fds=[writer], check=True, timeout=60
    )
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == b""  # there would be no end of it
    assert get(port) == (200, "hello")
    web.succeed("stop")


def test_an_address_of_the_newer_protocol(served: Project, port: int) -> None:
    declare(served, {"web": ['kind = "flask"', f"port = {port}", 'host = "::1"']})
    write(served, app=APP)
    (found,) = served.succeed("serve", "--detach", "--json").json
    assert found["address"] == f"[::1]:{port}"
    typed = subprocess.run(
        ["/bin/sh", "-c", found["example"]], capture_output=True, check=True, timeout=60
    )
    assert typed.stdout == b"hello"
    served.succeed("stop")
