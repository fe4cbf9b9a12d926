"""Which host keys are trusted, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest

from milabench.errors import PreflightError
from milabench.execute.hosts.hostkeys import HostKeys
from milabench.execute.hosts.login import Login

HERE, OTHER = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
ELLIPTIC = asyncssh.generate_private_key("ecdsa-sha2-nistp256")


def public(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key().decode().split()[:2])


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    return tmp_path / "ssh" / "known_hosts"


def keys(path: Path, lines: str = "", *, host: str = "n1", port: int = 22, **more: object) -> HostKeys:
    """Return what is trusted where known_hosts has these lines, as asyncssh asks for a host."""
    if lines:
        path.parent.mkdir()
        path.write_text(lines)
    made = HostKeys(Login(name="n1", address=host, **more), [str(path)])  # type: ignore[arg-type]
    made.match(host, "10.0.0.1", None if port == 22 else port)
    return made


@pytest.mark.parametrize(
    ("line", "host", "port", "found"),
    [
        ("n1", "n1", 22, True),
        ("n1,n2", "n1", 22, True),
        ("n*", "n1", 22, True),
        ("10.0.0.1", "n1", 22, True),
        ("[n1]:2222", "n1", 2222, True),
        ("n1", "n1", 2222, True),
        ("[n1]:2222", "n1", 22, False),
        ("n2", "n1", 22, False),
        ("!n1,*", "n1", 22, False),
    ],
)
def test_a_host_is_looked_up_as_ssh_does(known_hosts: Path, line: str, host: str, port: int, found: bool) -> None:
    made = keys(known_hosts, f"# comment\n\n{line} {public(HERE)} me@here\n", host=host, port=port)
    trusted, *_ = made.match(host, "10.0.0.1", None if port == 22 else port)
    assert [key.get_fingerprint() for key in trusted] == ([HERE.get_fingerprint()] if found else [])


def test_a_key_of_a_kind_that_is_known_is_asked_for_first(known_hosts: Path) -> None:
    made = keys(known_hosts, f"n1 {public(ELLIPTIC)}\n")
    asked = made.algorithms("n1", 22)
    assert asked[0] == "ecdsa-sha2-nistp256"
    assert "ssh-ed25519" in asked
    assert not any("cert" in each for each in asked)


def test_certificates_are_asked_for_where_an_authority_is_known(known_hosts: Path) -> None:
    made = keys(known_hosts, f"@cert-authority *.cluster {public(ELLIPTIC)}\n", host="n1.cluster")
    assert "cert" in made.algorithms("n1.cluster", 22)[0]


def test_a_key_that_is_not_known_is_written_down_only_when_that_is_asked_for(known_hosts: Path) -> None:
    made = keys(known_hosts)
    assert not made.accepts("n1", 22, HERE)
    assert made.remember() is None
    assert "not known yet" in str(made.problem)
    assert not known_hosts.exists()
    made = keys(known_hosts, accept_new=True)
    assert made.accepts("n1", 2222, HERE)
    assert not known_hosts.exists()  # before the other end has proven that it has the key
    assert made.remember() == (
        f"node n1 is known from now on: ssh-ed25519 {HERE.get_fingerprint()}, written into {known_hosts}"
    )
    assert made.remember() is None
    assert known_hosts.read_text() == f"[n1]:2222 {public(HERE)}\n"
    assert (known_hosts.stat().st_mode & 0o777, known_hosts.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("shown", [OTHER, ELLIPTIC], ids=["of its kind", "of another kind"])
def test_a_key_other_than_the_known_one_is_never_accepted(known_hosts: Path, shown: asyncssh.SSHKey) -> None:
    made = keys(known_hosts, f"n1 {public(HERE)}\n", accept_new=True)
    assert not made.accepts("n1", 22, shown)
    assert str(made.problem).startswith(
        f"has changed its host key: known_hosts has ssh-ed25519 {HERE.get_fingerprint()}, and it shows"
        f" {shown.get_algorithm()} {shown.get_fingerprint()}: "
    )
    assert "ssh-keygen -R 'n1'" in str(made.problem)


@pytest.mark.parametrize("named", [public(HERE), HERE.get_fingerprint()], ids=["key", "fingerprint"])
def test_the_key_of_the_system_file_counts_alone(known_hosts: Path, named: str) -> None:
    made = keys(known_hosts, f"n1 {public(OTHER)}\n", hostkey=named, accept_new=True)
    assert OTHER not in made.match("n1", "", None)[0]
    assert made.accepts("n1", 22, HERE) == named.startswith("SHA256")  # the key itself is trusted before that
    assert not made.accepts("n1", 22, OTHER)
    assert f"than `hostkey` of the system file ({HERE.get_fingerprint()})" in str(made.problem)


@pytest.mark.parametrize("named", ["rubbish", "ssh-ed25519 rubbish", "MD5:00:11"])
def test_a_hostkey_that_is_none_is_told(known_hosts: Path, named: str) -> None:
    with pytest.raises(PreflightError, match="node n1: `hostkey` is no public key"):
        keys(known_hosts, hostkey=named)


def test_where_known_hosts_cannot_be_written_it_is_named(known_hosts: Path) -> None:
    known_hosts.mkdir(parents=True)
    made = keys(known_hosts, accept_new=True)
    assert made.accepts("n1", 22, HERE)
    with pytest.raises(PreflightError, match=r"known_hosts cannot be written: Is a directory"):
        made.remember()
