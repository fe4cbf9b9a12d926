"""Work that is needed once, never taken for done when it is half done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milabench.agent import locks
from milabench.agent.once import Guarded, done, state


@pytest.fixture
def once(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "venv" / "torch"
    return {
        "record": str(folder / "record.json"),
        "folder": str(folder),
        "base": {"python": "3.11"},
        "parts": {"a/requirements.in": "1"},
        "always": False,
        "keep": False,
    }


def finish(once: dict[str, Any]) -> None:
    guarded = Guarded(once)
    assert guarded.begin() == "needed"
    guarded.end(done=True)


def test_what_was_done_is_done(once: dict[str, Any]) -> None:
    finish(once)
    assert done(once)
    assert Guarded(once).begin() == "done"


def test_what_failed_is_needed_again_and_its_half_is_removed(once: dict[str, Any]) -> None:
    guarded = Guarded(once)
    guarded.begin()
    half = Path(once["folder"]) / "half"
    half.parent.mkdir(parents=True)
    half.touch()
    guarded.end(done=False)
    assert not done(once)
    again = Guarded(once)
    assert again.begin() == "needed"
    assert again.stale == once["folder"]


def test_a_second_one_finds_the_lock_taken_until_the_first_ends(once: dict[str, Any]) -> None:
    first, second = Guarded(once), Guarded(once)
    assert first.begin() == "needed"
    assert second.begin() == "locked"
    first.end(done=True)
    assert second.begin() == "done"


def test_further_parts_accumulate_in_the_same_folder(once: dict[str, Any]) -> None:
    finish(once)
    kept = Path(once["folder"]) / "kept"
    kept.touch()
    further = Guarded({**once, "parts": {"b/requirements.in": "2"}})
    assert further.begin() == "needed"
    assert further.stale is None
    further.end(done=True)
    assert done(once)
    assert done({**once, "parts": {"a/requirements.in": "1", "b/requirements.in": "2"}})


@pytest.mark.parametrize("change", [{"parts": {"a/requirements.in": "9"}}, {"base": {"python": "3.12"}}])
def test_a_change_makes_it_needed_again(once: dict[str, Any], change: dict[str, Any]) -> None:
    finish(once)
    assert not done({**once, **change})


def test_another_base_starts_from_an_empty_folder(once: dict[str, Any]) -> None:
    finish(once)
    guarded = Guarded({**once, "base": {"python": "3.12"}})
    assert guarded.begin() == "needed"
    assert guarded.stale == once["folder"]


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_removed_has_no_record_any_more_however_far_that_comes(once: dict[str, Any], keep: bool) -> None:
    kept = {**once, "keep": keep}
    finish(kept)
    Guarded({**kept, "base": {"python": "3.12"}}).begin()
    assert not done(kept)


def test_what_is_done_every_time_still_leaves_a_record(once: dict[str, Any]) -> None:
    always = {**once, "always": True, "folder": None}
    finish(always)
    assert done(always)
    finish(always)


@pytest.mark.parametrize("keep", [True, False])
def test_the_record_of_what_stays_as_it_was_outlives_a_failure(once: dict[str, Any], keep: bool) -> None:
    again = {**once, "always": True, "folder": None, "keep": keep}
    finish(again)
    guarded = Guarded(again)
    assert guarded.begin() == "needed"
    guarded.end(done=False)
    assert done(again) == keep


def test_a_record_cut_short_counts_for_nothing(once: dict[str, Any]) -> None:
    finish(once)
    record = Path(once["record"])
    record.write_text(json.dumps({"base": {}})[:5])
    assert not done(once)


def test_what_cannot_be_begun_is_not_locked(once: dict[str, Any]) -> None:
    folder = Path(once["folder"])
    folder.parent.mkdir()
    folder.touch()
    first = Guarded(once)
    with pytest.raises(NotADirectoryError):
        first.begin()
    folder.unlink()
    second = Guarded(once)
    assert second.begin() == "needed"
    second.end(done=True)


def test_what_cannot_be_recorded_is_not_locked_for_ever(once: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    guarded = Guarded(once)
    assert guarded.begin() == "needed"
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(Path, "write_text", full)
        guarded.end(done=True)
    assert Guarded(once).begin() == "needed"


@pytest.mark.parametrize("content", ["[]", "{}", '{"base": {}, "parts": 3}', '{"base": null, "parts": {}}', "\xff"])
def test_a_record_of_something_else_counts_for_nothing(once: dict[str, Any], content: str) -> None:
    finish(once)
    Path(once["record"]).write_bytes(content.encode("latin-1"))
    assert not done(once)
    assert state(once)["made"] is False


def test_a_lock_that_cannot_be_had_at_all_is_no_wait(once: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(OSError, match="No locks available"):
        Guarded(once).begin()


def test_what_another_finished_meanwhile_is_not_made_again(
    once: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(path: str) -> int | None:
        monkeypatch.undo()
        finish(once)  # between the look and the lock
        return locks.take(path)

    monkeypatch.setattr(locks, "take", late)
    assert Guarded(once).begin() == "done"


# Environments ------------------------------------------------------------------------------------------------------


def distribution(once: dict[str, Any], name: str, version: str | None) -> None:
    """Put a version of a distribution into the environment, or with None take it out."""
    packages = Path(once["folder"]) / "lib" / "python3.11" / "site-packages"
    for folder in packages.glob(f"{name}-*.dist-info"):
        folder.rmdir()
    if version is not None:
        (packages / f"{name}-{version}.dist-info").mkdir(parents=True)


@pytest.fixture
def environment(once: dict[str, Any]) -> dict[str, Any]:
    """Return what makes an environment needed once, made, with two packages."""
    guarded = Guarded(once)
    assert guarded.begin() == "needed"
    python = Path(once["folder"]) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    (Path(once["folder"]) / "pyvenv.cfg").touch()
    distribution(once, "numpy", "1.26.4")
    distribution(once, "torch", "2.5.0+cpu")
    guarded.end(done=True)
    return once


SAME = {"made": True, "base": {}, "parts": [], "changed": {}}


def test_an_environment_as_it_was_made_is_the_same(environment: dict[str, Any]) -> None:
    assert state(environment) == SAME


def test_packages_that_were_changed_by_hand_are_seen(environment: dict[str, Any]) -> None:
    distribution(environment, "numpy", "2.1.0")
    distribution(environment, "torch", None)
    distribution(environment, "extra", "1.0")
    changed = {"extra": [None, "1.0"], "numpy": ["1.26.4", "2.1.0"], "torch": ["2.5.0+cpu", None]}
    assert state(environment) == {**SAME, "changed": changed}


def test_what_is_asked_for_otherwise_now_is_seen(environment: dict[str, Any]) -> None:
    asked = {**environment, "base": {"python": "3.12"}, "parts": {"a/requirements.in": "1", "benchmate": "new"}}
    assert state(asked) == {**SAME, "base": {"python": ["3.11", "3.12"]}, "parts": ["benchmate"]}


@pytest.mark.parametrize("lost", ["record.json", "bin/python"])
def test_an_environment_without_record_or_interpreter_is_not_made(environment: dict[str, Any], lost: str) -> None:
    (Path(environment["folder"]) / lost).unlink()
    assert state(environment)["made"] is False


def test_an_environment_whose_interpreter_this_user_cannot_run_is_not_made(environment: dict[str, Any]) -> None:
    (Path(environment["folder"]) / "bin" / "python").chmod(0o644)
    assert state(environment)["made"] is False


def test_of_an_environment_whose_packages_were_not_recorded_changes_are_not_known(environment: dict[str, Any]) -> None:
    record = Path(environment["record"])
    kept = json.loads(record.read_text())
    del kept["packages"]
    record.write_text(json.dumps(kept))
    assert state(environment)["changed"] is None


def test_what_was_changed_by_hand_stays_a_change_when_more_is_installed(environment: dict[str, Any]) -> None:
    distribution(environment, "numpy", "2.1.0")
    distribution(environment, "extra", "1.0")
    distribution(environment, "torch", None)
    more = {**environment, "parts": {"b/requirements.in": "2"}}
    guarded = Guarded(more)
    assert guarded.begin() == "needed"
    distribution(environment, "new", "3.0")
    guarded.end(done=True)
    changed = {"extra": [None, "1.0"], "numpy": ["1.26.4", "2.1.0"], "torch": ["2.5.0+cpu", None]}
    assert state(more) == {**SAME, "changed": changed}


def test_what_an_install_sets_right_is_a_change_no_more(environment: dict[str, Any]) -> None:
    distribution(environment, "numpy", "2.1.0")
    more = {**environment, "parts": {"b/requirements.in": "2"}}
    guarded = Guarded(more)
    guarded.begin()
    distribution(environment, "numpy", "1.26.0")
    guarded.end(done=True)
    assert state(more) == SAME


def test_what_is_no_environment_has_no_packages_in_its_record(once: dict[str, Any]) -> None:
    finish(once)
    assert "packages" not in json.loads(Path(once["record"]).read_text())
