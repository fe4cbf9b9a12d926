"""What an agent looks for on its node's network: free ports, other nodes, servers that are ready."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents import talk
from milabench.errors import PreflightError
from milabench.execute.hosts.local import LocalHost


def asked(op: str, **fields: Any) -> dict[str, Any]:
    async def story(host: LocalHost) -> dict[str, Any]:
        return await host.request(op, **fields)

    found: dict[str, Any] = talk(story)
    return found


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    with socket.create_server((address, 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def answering(status: int) -> Iterator[int]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            serving.join()


def ready(**sign: Any) -> dict[str, Any]:
    return {"port": None, "url": None, "file": None, "log": None, "within_s": 60.0, **sign}


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
def test_a_port_that_something_listens_on_is_not_free(address: str) -> None:
    with listening(address) as used:
        port = asked("port", lowest=used, taken=[used + 1])["port"]
    assert port > used + 1
    with socket.create_server(("", port)):
        pass


def test_a_port_of_a_connection_that_has_just_ended_is_free() -> None:
    with listening() as port:
        pass
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # the server's end goes first: it waits for late packets
        assert client.recv(1) == b""
    assert asked("port", lowest=port, taken=[])["port"] == port


def test_where_no_port_is_free_it_is_said() -> None:
    with pytest.raises(PreflightError, match="no port from 65535 on is free"):
        asked("port", lowest=65535, taken=[65535])


def test_another_node_is_reached_or_it_is_said_why_not() -> None:
    with listening() as port:
        assert asked("reach", address="127.0.0.1", port=port, within_s=5.0)["why"] == ""
    assert asked("reach", address="127.0.0.1", port=port, within_s=5.0)["why"] == "connection refused"
    assert "name" in asked("reach", address="nowhere.invalid", port=port, within_s=5.0)["why"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])  # the second: no address that is tried
def test_a_server_is_ready_when_its_port_takes_connections(tmp_path: Path, address: str) -> None:
    with listening(address) as port:
        assert asked("ready", ready=ready(port=port), cwd=str(tmp_path))["why"] == ""
    found = asked("ready", ready=ready(port=port), cwd=str(tmp_path))["why"]
    assert found == f"port {port}: connection refused"


@pytest.mark.parametrize(("status", "why"), [(200, ""), (503, "answers 503"), (404, "answers 404")])
def test_a_server_is_ready_when_its_url_answers_well(tmp_path: Path, status: int, why: str) -> None:
    with answering(status) as port:
        found = asked("ready", ready=ready(url=f"http://127.0.0.1:{port}/health"), cwd=str(tmp_path))["why"]
    assert found == (f"http://127.0.0.1:{port}/health {why}" if why else "")


def test_a_url_that_nobody_answers_is_not_ready(tmp_path: Path) -> None:
    with listening() as port:
        pass
    url = f"http://127.0.0.1:{port}/"
    assert asked("ready", ready=ready(url=url), cwd=str(tmp_path))["why"] == f"{url}: connection refused"


def test_a_server_is_ready_when_its_file_is_there(tmp_path: Path) -> None:
    found = asked("ready", ready=ready(file="up"), cwd=str(tmp_path))["why"]
    assert found == f"there is no {tmp_path}/up"
    (tmp_path / "up").touch()
    assert asked("ready", ready=ready(file="up"), cwd=str(tmp_path))["why"] == ""
