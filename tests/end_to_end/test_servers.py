"""A client and its server: the one starts when the other is ready, and is told why it never was."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from harness import Project

SERVER = """
    import sys, time
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from pathlib import Path

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

    port = int(sys.argv[1])
    print("loading", flush=True)
    time.sleep(0.5)
    with HTTPServer(("127.0.0.1", port), Answer) as server:
        Path("up").touch()
        print(f"startup complete on {port}", flush=True)
        server.serve_forever()
"""
CLIENT = """
    import sys
    from urllib.request import urlopen

    from benchmate.observe import Observer

    observer = Observer(unit="requests")
    for request in observer.iterate([[0]] * 1000):
        urlopen(f"http://127.0.0.1:{sys.argv[1]}/health").close()
"""
BENCHFILE = """
    from milabench.commands import ClientServer, CmdCommand, PackCommand
    from milabench.pack import Package

    class Served(Package):
        def build_run_plan(self):
            client, server = ClientServer.new_client_pack(self), ClientServer.new_server_pack(self)
            words = self.config["server"]["argv"]
            serves = PackCommand(server, "server.py", words[0])
            if "broken" in words:
                serves = CmdCommand(server, "sh", "-c", "echo no weights in /models >&2; exec sleep 1000")
            return ClientServer(self, client=PackCommand(client, words[0]), server=serves)

    __pack__ = Served
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def served(project: Project, furnish: Callable[[str], None]) -> Callable[..., int]:
    """Return what writes a benchmark whose server is ready when ``ready`` says so, and returns the server's port."""
    furnish("served")
    project.write("served/server.py", SERVER)
    project.write("served/main.py", CLIENT)
    project.write("served/benchfile.py", BENCHFILE)

    def write(ready: dict[str, Any], *words: str) -> int:
        port = free_port()
        signs = {name: value.format(port=port) if isinstance(value, str) else value for name, value in ready.items()}
        signs |= {"port": port} if signs.get("port") == 0 else {}
        project.suite(
            served={
                "definition": "served",
                "plan": {"method": "njobs"},
                "voir": {"options": {"stop": 10, "skip": 1}},
                "server": {"argv": [str(port), *words], "ready": signs},
            }
        )
        return port

    return write


@pytest.mark.parametrize(
    "ready",
    [
        {"port": 0},
        {"url": "http://127.0.0.1:{port}/health"},
        {"file": "up"},
        {"log": r"startup complete on \d+"},
    ],
    ids=lambda ready: next(iter(ready)),
)
def test_a_client_starts_when_its_server_is_ready(
    project: Project, served: Callable[..., int], ready: dict[str, Any]
) -> None:
    served(ready)
    done = project.verb("run")
    assert done.code == 0, done.err
    assert project.report()["served"]["outcomes"] == {"early_stop": 2}  # the server is ended too
    assert project.processes() == []


def test_a_server_that_is_never_ready_has_failed_with_what_it_printed_last(
    project: Project, served: Callable[..., int]
) -> None:
    port = served({"port": 0, "within": "5s"}, "broken")
    done = project.verb("run")
    assert done.code == 1
    failure, client = project.report()["served"]["failures"]
    assert (failure["tag"], client["tag"]) == ("served.server", "served.client")
    assert "never started" in client["reason"]
    assert failure["reason"] == (
        f"was not ready within 5 s: port {port}: connection refused; it printed last: no weights in /models"
    )
    log = project.run().files("served.server").stderr.read_text()
    said = f"milabench: it was not ready within 5 s: port {port}: connection refused: the process is ended"
    assert said in log.splitlines()
    assert project.run().tags() == ("served.server",)  # the client was not started
    assert project.processes() == []


def test_a_url_that_does_not_answer_well_is_not_ready(project: Project, served: Callable[..., int]) -> None:
    port = served({"url": "http://127.0.0.1:{port}/elsewhere", "within": "8s"})
    assert project.verb("run").code == 1
    failure, _ = project.report()["served"]["failures"]  # and the client, which has not started
    assert f"was not ready within 8 s: http://127.0.0.1:{port}/elsewhere answers 404" in failure["reason"]
