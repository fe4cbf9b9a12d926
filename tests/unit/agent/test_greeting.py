"""An agent's first word, and how long it goes on without hearing any."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from milabench.agent import greeting
from milabench.agent.greeting import Silence, hello, identity, private_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_the_operator_sets_is_taken_on_but_for_certificates_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": "/bin"})
    (tmp_path / "here.pem").touch()
    told = {
        "PIP_INDEX_URL": "https://index",
        "SSL_CERT_FILE": "/nowhere/ca.pem",
        "CURL_CA_BUNDLE": str(tmp_path / "here.pem"),
    }
    environ = {"PATH": "/bin"}
    reply = hello({"environ": told}, environ)
    assert environ == {"PATH": "/bin", "PIP_INDEX_URL": "https://index", "CURL_CA_BUNDLE": str(tmp_path / "here.pem")}
    assert os.environ == environ
    assert (reply["event"], reply["uid"], reply["archive"]) == ("hello", os.getuid(), None)


def test_a_private_folder_is_this_users_alone(temporary: Path) -> None:
    folder = private_folder()
    assert (folder.parent, folder.stat().st_mode & 0o777) == (temporary, 0o700)
    assert private_folder() == folder


def test_agents_of_one_machine_are_known_by_its_boot_and_the_folder_of_their_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("proc/sys/kernel/random/boot_id", "proc/self/ns/net"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a\n")
    first = identity(tmp_path)
    assert first is not None
    assert identity(tmp_path) == first
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b\n")
    assert identity(tmp_path) != first
    before, elsewhere = identity(tmp_path), tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    assert identity(tmp_path) != before
    assert identity(tmp_path / "nowhere") is None


@pytest.mark.parametrize("trap", ["a link", "open to all", "a file"])
def test_what_somebody_else_has_put_in_its_place_is_not_used(temporary: Path, trap: str) -> None:
    place, elsewhere = temporary / f"milabench-{os.getuid()}", temporary / "elsewhere"
    elsewhere.mkdir()
    if trap == "a link":
        place.symlink_to(elsewhere)
    elif trap == "a file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    found = private_folder()
    assert found not in (place, elsewhere)
    assert found.stat().st_mode & 0o777 == 0o700


def test_an_agent_that_was_told_no_limit_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence()
    monkeypatch.setattr(greeting.time, "monotonic", lambda: 1e12)
    assert (silence.wake_at, silence.too_long) == (None, False)


def test_each_word_begins_the_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(greeting.time, "monotonic", lambda: now)
    silence = Silence()
    silence.limit(10)
    assert silence.wake_at == 110
    now = 109.0
    silence.heard()
    now = 118.9
    assert not silence.too_long
    now = 119.0
    assert silence.too_long
