"""Connections by SSH to real servers: each way to fail is told with what to do, and leaves nothing running."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness import wait_until
from links import login, name_of, refusal, talk
from milabench.execute.hosts.agent import AgentHost
from milabench.execute.hosts.link import Link
from nodes import USER, Nodes

# Who is there ------------------------------------------------------------------------------------------------------


def test_a_host_key_that_is_not_known_is_not_trusted(nodes: Nodes) -> None:
    nodes.trust("n2")
    said = refusal(nodes)
    assert said.startswith("node n1 (10.77.0.1) shows a host key that is not known yet (ssh-ed25519 SHA256:")
    assert "--accept-new-host-keys" in said
    assert "`hostkey`" in said


def test_a_host_key_can_be_accepted_the_first_time_and_is_known_then(nodes: Nodes) -> None:
    nodes.known_hosts.write_text("# no newline at the end")
    assert talk(nodes, login(nodes, accept_new=True), name_of) == "n1"
    assert nodes.known_hosts.read_text().splitlines() == [
        "# no newline at the end",
        f"10.77.0.1 {nodes['n1'].host_key()}",
    ]
    assert talk(nodes, login(nodes), name_of) == "n1"


def test_where_a_host_key_cannot_be_written_down_nothing_stays_connected(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    aborted: list[str] = []
    abort = Link.abort

    def noted(link: Link) -> None:
        aborted.append(str(link.login))
        abort(link)

    monkeypatch.setattr(Link, "abort", noted)
    nodes.known_hosts.unlink(missing_ok=True)
    nodes.known_hosts.mkdir()
    said = refusal(nodes, accept_new=True)
    nodes.known_hosts.rmdir()
    assert said == f"{nodes.known_hosts} cannot be written: Is a directory"
    assert aborted == ["node n1 (10.77.0.1)"]


@pytest.mark.parametrize("accept_new", [False, True])
def test_a_host_key_that_has_changed_is_never_accepted(nodes: Nodes, accept_new: bool) -> None:
    before = f"10.77.0.1 {nodes['n2'].host_key()}\n"
    nodes.known_hosts.write_text(before)
    said = refusal(nodes, accept_new=accept_new)
    assert "has changed its host key: known_hosts has ssh-ed25519 SHA256:" in said
    assert said.count("SHA256:") == 2
    assert "ssh-keygen -R '10.77.0.1'" in said
    assert nodes.known_hosts.read_text() == before


def test_a_host_key_of_another_kind_than_is_known_is_a_changed_one(nodes: Nodes, tmp_path: Path) -> None:
    import asyncssh

    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    nodes.known_hosts.write_text(f"10.77.0.1 {key}")
    said = refusal(nodes, accept_new=True)
    assert "has changed its host key: known_hosts has ecdsa-sha2-nistp256 SHA256:" in said
    assert "and it shows ssh-ed25519 SHA256:" in said


def test_the_host_key_of_the_system_file_is_the_only_one(nodes: Nodes) -> None:
    nodes.known_hosts.write_text("")
    assert talk(nodes, login(nodes, hostkey=nodes["n1"].host_key()), name_of) == "n1"
    nodes.trust()
    said = refusal(nodes, hostkey=nodes["n2"].host_key(), accept_new=True)
    assert "shows another host key (ssh-ed25519 SHA256:" in said
    assert said.count("SHA256:") == 2
    assert "cannot be read" not in said


def test_a_host_key_can_be_named_by_its_fingerprint(nodes: Nodes) -> None:
    import asyncssh

    fingerprint = asyncssh.import_public_key(nodes["n1"].host_key()).get_fingerprint()
    nodes.known_hosts.write_text("")
    assert talk(nodes, login(nodes, hostkey=fingerprint), name_of) == "n1"
    assert "`hostkey` of the system file (SHA256:other)" in refusal(nodes, hostkey="SHA256:other")
    assert "`hostkey` is no public key" in refusal(nodes, hostkey="rubbish")


def test_a_revoked_host_key_is_not_trusted(nodes: Nodes) -> None:
    key = nodes["n1"].host_key()
    nodes.known_hosts.write_text(f"10.77.0.1 {key}\n@revoked * {key}\n")
    assert "revoked" in refusal(nodes, accept_new=True)


def test_known_hosts_that_make_no_sense_are_named(nodes: Nodes) -> None:
    nodes.known_hosts.write_text("@nonsense 10.77.0.1 ssh-ed25519 AAAA\n")
    said = refusal(nodes)
    assert said.startswith(f"{nodes.known_hosts}: Invalid known hosts marker")


# Who asks ----------------------------------------------------------------------------------------------------------


def test_a_user_who_is_not_there_or_whose_key_is_not_accepted_is_told_the_same(nodes: Nodes, tmp_path: Path) -> None:
    said = refusal(nodes, user="nobody-of-that-name")
    assert said.startswith(
        "node n1 (10.77.0.1) refuses to let nobody-of-that-name log in: none of the keys is accepted"
    )
    assert "~nobody-of-that-name/.ssh/authorized_keys" in said
    other = nodes["n2"].folder / "etc" / "host_key"
    assert f"tried: {other}" in refusal(nodes, key=other)


def test_a_key_that_cannot_be_read_is_named(nodes: Nodes, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert f"needs {absent}, which cannot be read (No such file or directory)" in refusal(nodes, key=absent)
    closed = tmp_path / "closed"
    os.spawnlp(os.P_WAIT, "ssh-keygen", *("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(closed)))
    assert "ssh-add" in refusal(nodes, key=closed)


def test_the_users_own_configuration_of_ssh_counts_but_does_not_switch_the_look_at_host_keys_off(nodes: Nodes) -> None:
    config = nodes.home / ".ssh" / "config"
    lines = ["Host friend", "  HostName 10.77.0.1", f"  User {USER}", "  UserKnownHostsFile none", "  RequestTTY force"]
    config.write_text("\n".join(lines))
    try:
        assert talk(nodes, login(nodes, address="friend", user=None), name_of) == "n1"
        shared = nodes.home / "shared"
        nodes.known_hosts.rename(shared)
        assert "not known yet" in refusal(nodes, address="friend", user=None)
        config.write_text("\n".join([*lines, f"  GlobalKnownHostsFile {shared}"]))
        assert talk(nodes, login(nodes, address="friend", user=None), name_of) == "n1"
        assert not nodes.known_hosts.exists()
        config.write_text("\n".join([*lines, "  Port 2222"]))
        assert refusal(nodes, address="friend", user=None).startswith(
            "node n1 (friend; in ~/.ssh/config 10.77.0.1 port 2222) refuses the connection"
        )
        config.write_text("Host friend\n  HostName 10.77.0.1\n  User somebody\n")
        assert "let somebody log in" in refusal(nodes, address="friend", user=None, hostkey=nodes["n1"].host_key())
        config.write_text("Port none\n")
        assert "config line 1" in refusal(nodes)
    finally:
        config.unlink()


@pytest.mark.parametrize(
    "way",
    [
        f"ProxyJump {USER}@10.77.0.2",
        f"ProxyCommand ssh -F none -o UserKnownHostsFile=%d/.ssh/known_hosts -i %d/.ssh/id_ed25519 -W %h:%p"
        f" {USER}@10.77.0.2",
    ],
    ids=["jump", "command"],
)
def test_a_node_can_be_reached_through_another(nodes: Nodes, way: str) -> None:
    config = nodes.home / ".ssh" / "config"
    config.write_text(f"Host 10.77.0.1\n  {way}\n")
    try:
        assert talk(nodes, login(nodes), _way) == ("n1", "10.77.0.2")
    finally:
        config.unlink()
    wait_until(nodes["n2"].idle)


async def _way(host: AgentHost) -> tuple[str, str]:
    """Return the node's name, and where its connection comes from."""
    environ = (await host.request("probe", arch=None, reach={}))["facts"]["environ"]
    return await name_of(host), environ["SSH_CONNECTION"].split()[0]


def test_a_jump_host_whose_key_is_not_known_is_not_trusted(nodes: Nodes) -> None:
    config = nodes.home / ".ssh" / "config"
    config.write_text(f"Host 10.77.0.1\n  ProxyJump {USER}@10.77.0.2\n")
    nodes.trust("n1")
    try:
        assert "cannot be trusted: Host key is not trusted for host 10.77.0.2" in refusal(nodes)
    finally:
        config.unlink()


def test_what_fails_behind_a_jump_host_is_told_with_it(nodes: Nodes) -> None:
    config, jump = nodes.home / ".ssh" / "config", f"{USER}@10.77.0.2"
    try:
        config.write_text(f"Host 10.77.0.1\n  Port 2222\n  ProxyJump {jump}\n")
        assert refusal(nodes) == (
            f"node n1 (10.77.0.1; in ~/.ssh/config 10.77.0.1 port 2222, through {jump}) cannot be reached from {jump}"
            f" (Connection refused): is sshd running there, on that port, and does {jump} know the address?"
        )
        config.write_text(f"Host 10.77.0.1\n  ProxyJump {jump}:2222\n")
        assert f"through {jump}:2222): {jump}:2222, on the way there, refuses the connection" in refusal(nodes)
        config.write_text("Host 10.77.0.1\n  ProxyCommand false\n")
        assert refusal(nodes).startswith("node n1 (10.77.0.1; in ~/.ssh/config by a ProxyCommand) ")
    finally:
        config.unlink()


# What is there -----------------------------------------------------------------------------------------------------


def test_a_closed_port_is_told(nodes: Nodes) -> None:
    said = refusal(nodes, port=2222)
    assert said.startswith("node n1 (10.77.0.1 port 2222) refuses the connection, nothing listens on that port")


def test_an_address_without_a_route_and_one_that_is_not_known_are_told(nodes: Nodes) -> None:
    assert "cannot be reached (Network is unreachable)" in refusal(nodes, address="10.99.0.1")
    assert "has an address that is not known" in refusal(nodes, address="no-such-name.invalid")


def test_a_node_that_does_not_answer_is_told_in_time(nodes: Nodes) -> None:
    nodes["n1"].drop()
    try:
        said = refusal(nodes, connect_s=1.0)
    finally:
        nodes["n1"].drop(all_in=False)
    assert said.startswith("node n1 (10.77.0.1): no answer within 1 s: the node is down, or a firewall")


@contextmanager
def listening(greeting: bytes, *, closes: bool) -> Iterator[int]:
    """Listen on a port of this machine's loopback, greet who comes, and say no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    taken.append(server.accept()[0])
                    taken[-1].sendall(greeting)
                    if closes:
                        taken[-1].close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for each in taken:
            each.close()


@pytest.mark.parametrize(
    ("greeting", "closes", "told"),
    [
        (b"", False, "something takes the connection, and does not let anybody log in within 1 s: is it sshd"),
        (b"", True, "closed the connection before anybody logged in: is it sshd that listens there?"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "is it sshd that listens there?"),
        (b"SSH-1.5-old\r\n", False, "speaks no SSH that is understood (Unsupported SSH version): is it sshd"),
        (b"SSH-2.0-odd\r\n" + b"\xff" * 100, False, "speaks no SSH that is understood"),
    ],
    ids=["silent", "closes", "HTTP", "SSH 1", "garbage"],
)
def test_what_is_no_sshd_is_told(nodes: Nodes, greeting: bytes, closes: bool, told: str) -> None:
    with listening(greeting, closes=closes) as port:
        assert told in refusal(nodes, address="127.0.0.1", port=port, connect_s=1.0)
