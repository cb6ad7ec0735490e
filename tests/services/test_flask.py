"""Flask applications under gunicorn: found, served, watched, and stopped with nothing lost."""

import collections
import http.client
import os
import signal
import threading
import time
from collections.abc import Sequence

import pytest

from tests.support.projects import Project
from tests.support.serving import (
    APP,
    Serving,
    declare,
    free_port,
    get,
    left,
    services,
    state,
    write,
)
from tests.support.waiting import wait

pytestmark = pytest.mark.network


def test_served_and_stopped(web: Project, port: int) -> None:
    with Serving(web) as serving:
        serving.until_ready("web")
        assert get(port) == (200, "hello")
        entry = services(web)["web"]
        assert entry["address"] == f"127.0.0.1:{port}"
        assert entry["supervisor"] == serving.process.pid
        # What it has printed can be read elsewhere meanwhile.
        assert "GET / HTTP/1.1" in web.succeed("logs").out
        assert serving.stop() == 0
    assert "web | " in serving.out
    assert "Listening at" in serving.out
    assert f"web   flask  127.0.0.1:{port}  ready" in serving.err
    assert f"curl http://127.0.0.1:{port}/health" in serving.err
    assert "Stopping web\nweb stopped (" in serving.err
    assert get(port)[0] == 0
    assert left(web) == []
    assert state(web, "web") == "stopped"


def test_no_request_is_lost(web: Project, port: int) -> None:
    """Many more want an answer than can be given one at a time, while it is stopped."""
    found: collections.Counter[str] = collections.Counter()
    mutex = threading.Lock()

    def client() -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                connection.request("GET", "/slow/0.01")
                outcome = connection.getresponse().read().decode()
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
            finally:
                connection.close()
            with mutex:
                found[outcome] += 1

    with Serving(web) as serving:
        serving.until_ready("web")
        clients = [threading.Thread(target=client) for _ in range(24)]
        for one in clients:
            one.start()
        wait(lambda: found["done"] > 50, "many have been answered")
        assert serving.stop() == 0
    for one in clients:
        one.join()
    assert {*found} == {"done"}, found


def test_one_that_takes_too_long_is_killed(served: Project, port: int) -> None:
    declare(served, {"web": ['kind = "flask"', f"port = {port}", 'stop_timeout = "2s"']})
    write(served, app=APP)
    with Serving(served) as serving:
        serving.until_ready("web")
        slow = threading.Thread(target=get, args=(port, "/slow/60"))
        slow.start()
        wait(lambda: "slow" not in served.succeed("logs").out, "it is asked")
        time.sleep(0.5)
        begun = time.monotonic()
        assert serving.stop() == 0
        assert time.monotonic() - begun < 20
    slow.join()
    assert left(served) == []


def test_who_asks_twice_does_not_wait(web: Project, port: int) -> None:
    with Serving(web) as serving:
        serving.until_ready("web")
        slow = threading.Thread(target=get, args=(port, "/slow/60"))
        slow.start()
        time.sleep(0.5)
        os.killpg(serving.process.pid, signal.SIGINT)
        wait(lambda: state(web, "web") == "stopping", "it is being stopped")
        begun = time.monotonic()
        assert serving.stop() == 0
        assert time.monotonic() - begun < 15
    slow.join()
    assert left(web) == []


@pytest.mark.parametrize(
    ("files", "lines", "env"),
    [
        (["app"], [], {}),
        (["wsgi"], [], {}),
        (["made"], ['app = "made"'], {}),
        (["package__module"], ["app = \"package.module:create('there')\""], {}),
        (["package__module"], [], {"FLASK_APP": "package.module:create('there')"}),
    ],
)
def test_the_application_is_found_as_flask_finds_it(
    served: Project, port: int, files: Sequence[str], lines: Sequence[str], env: dict[str, str]
) -> None:
    declare(served, {"web": ['kind = "flask"', f"port = {port}", *lines]})
    factory = (
        "from flask import Flask\n"
        "def create(word):\n"
        "    app = Flask(__name__)\n"
        "    app.add_url_rule('/', view_func=lambda: word)\n"
        "    return app\n"
    )
    named = {"wsgi": "application = create('there')", "app": "app = create('there')"}
    named |= {"made": "create_app = lambda: create('there')"}
    for name in files:
        write(served, **{name: factory + named.get(name, "")})
    served.machine.environ |= env
    with Serving(served) as serving:
        serving.until_ready("web")
        assert get(port) == (200, "there")


def test_left_behind(served: Project) -> None:
    ports = {name: free_port() for name in ("one", "two")}
    tables = {
        name: ['kind = "flask"', f"port = {port}", f'environment = {{ SAYS = "{name}" }}']
        for name, port in ports.items()
    }
    declare(served, tables)
    write(served, app=APP)
    result = served.succeed("serve", "--detach")
    assert [line.split()[3] for line in result.out.splitlines()[1:3]] == ["ready", "ready"]
    assert {name: get(port) for name, port in ports.items()} == {
        "one": (200, "one"),
        "two": (200, "two"),
    }
    again = served.envkit("serve")
    assert again.code == 2
    again = served.envkit("serve", "two")
    assert again.code == 2
    assert "two is running already" in again.err
    both = served.succeed("logs", "--lines", "1000").out
    assert "one | " in both
    assert "two | " in both
    assert "one | " not in served.succeed("logs", "two").out
    assert "one stopped (" in served.succeed("stop", "one").err
    assert (state(served, "one"), state(served, "two")) == ("stopped", "ready")
    # Those that run go on; the others are started.
    result = served.succeed("serve", "--detach", "--json")
    assert "two is running already" in result.err
    found = result.json
    assert [(one["name"], one["state"]) for one in found] == [("one", "ready")]
    served.succeed("stop")
    assert left(served) == []
    assert "Nothing is running" in served.succeed("stop").err


def test_they_are_stopped_in_the_opposite_order(served: Project) -> None:
    names = ("one", "two", "three")
    declare(served, {name: ['kind = "flask"', f"port = {free_port()}"] for name in names})
    write(served, app=APP)
    with Serving(served) as serving:
        serving.until_ready(*names)
        assert serving.stop(signal.SIGTERM) == 0
    stopped = [line.split()[1] for line in serving.err.splitlines() if line.startswith("Stopping")]
    assert stopped == ["three", "two", "one"]


def test_logs_are_followed_to_the_end(web: Project, port: int) -> None:
    web.succeed("serve", "--detach")
    seen: list[str] = []
    following = threading.Thread(
        target=lambda: seen.append(web.succeed("logs", "--follow", "--lines", "0").out)
    )
    following.start()
    time.sleep(1)
    get(port, "/slow/0.1")
    web.succeed("stop")
    following.join(30)
    assert "GET /slow/0.1" in seen[0]
    assert "Shutting down" in seen[0]


def test_the_code_is_followed(web: Project, port: int) -> None:
    with Serving(web, "--dev") as serving:
        serving.until_ready("web")
        assert get(port) == (200, "hello")
        time.sleep(1)  # what the reloader compares are times
        write(web, app=APP.replace('"hello"', '"changed"'))
        wait(lambda: get(port) == (200, "changed"), "it is reloaded")
        assert serving.stop() == 0
    assert left(web) == []


def test_paths_with_blanks(served: Project, port: int) -> None:
    other = served.machine.project("a projéct")
    for path in served.root.glob("requirements*"):
        (other.root / path.name).write_bytes(path.read_bytes())
    other.install("--offline")
    declare(other, {"web": ['kind = "flask"', f"port = {port}"]})
    write(other, app=APP)
    with Serving(other) as serving:
        serving.until_ready("web")
        assert get(port) == (200, "hello")
