"""What goes into a bundle: what a suite needs where it is unpacked, and nothing that is somebody's own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from milabench import plan as planning
from milabench.app import packed
from milabench.app.bundle import pack, packing_folder
from milabench.app.options import Options
from milabench.app.workspace import workspace
from milabench.bundle import Group
from milabench.console import Console
from milabench.errors import PreflightError, UsageError
from milabench.suite.types import Program

FACTS = {"hostname": "here", "cpus": 4, "memory_bytes": 2**34, "arch": "cpu", "devices": [], "environ": {}}
SUITE = """
own: {definition: own, install_group: torch, plan: {method: njobs, n: 1}, env: {HF_TOKEN: '${secret:HF_TOKEN}'}}
tool: {command: {argv: [sh, print.sh, -v], cwd: tool}, plan: {method: njobs, n: 1}}
plain: {command: {argv: [nvidia-smi], cwd: /}, plan: {method: njobs, n: 1}}
"""
WHEELS = ("benchmate-1+a-py3-none-any.whl", "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "a_b-1-2-py3-none-any.whl")


def filled(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def files(folder: Path, *, with_data: bool = False, console: Console | None = None) -> dict[str, Path]:
    filled(folder, "own/main.py", "own/__pycache__/main.pyc", "tool/print.sh")
    (folder / "suite.yaml").write_text(SUITE)
    base, made = folder / "base", folder / "made"
    (made / "torch/wheels").mkdir(parents=True, exist_ok=True)
    options = Options(config=str(folder / "suite.yaml"), base=base, environ={"HF_TOKEN": "hf_0123456789"})
    ready = workspace(options, FACTS)
    codes = {**planning.codes(ready), **packed.commands(ready.suite.benchmarks, console or Console(quiet=True))}
    groups = (Group(name="torch", parts={}, wheels=WHEELS),)
    return dict(packed.files(ready, codes, made, groups, with_data=with_data))


def test_a_bundle_has_folders_wheels_and_a_suite_that_finds_them(tmp_path: Path) -> None:
    found = files(tmp_path)
    assert sorted(found) == [
        "code/own/main.py",
        "code/tool.command/print.sh",
        "locks/torch.txt",
        "suite.yaml",
        *sorted(f"wheels/{name}" for name in WHEELS),
    ]
    assert found["locks/torch.txt"].read_text() == "torch==2.13.0+cpu\na_b==1\n"
    suite: dict[str, Any] = yaml.safe_load(found["suite.yaml"].read_text())
    assert suite["own"]["definition"] == "code/own"
    assert suite["own"]["env"] == {"HF_TOKEN": "${secret:HF_TOKEN}"}
    assert [suite[name]["command"]["cwd"] for name in ("tool", "plain")] == ["code/tool.command", "."]


def test_a_commands_folder_that_holds_much_else_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packed, "_MOST_FILES", 3)
    filled(tmp_path, *(f"tool/{number}" for number in range(4)))
    assert not [name for name in files(tmp_path, console=Console()) if name.startswith("code/tool")]
    assert "not packed: print.sh of tool:" in capsys.readouterr().err


def test_the_data_of_the_suites_benchmarks_is_packed_and_no_token(tmp_path: Path) -> None:
    base = tmp_path / "base"
    wanted = ("data/hub/blobs/1", "extra/own/made", "cache/hub/checkpoints/net.pt")
    others = ("extra/other/made", "extra/own/prepared/own.1.json", "extra/setup/own.stdout", "venv/torch/x")
    again = ("cache/wheels/x.whl", "cache/tools/uv/uv", "cache/triton/x", "cache/packing/tmp/x")
    tokens = ("data/token", "data/stored_tokens", "cache/huggingface/token")
    filled(base, *wanted, *others, *again, *tokens)
    filled(tmp_path, "elsewhere")
    (base / "data/latest").symlink_to("hub")
    (base / "data/away").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(base / "data/pipe")
    found = files(tmp_path, with_data=True)
    below = {name: path for name, path in found.items() if name.startswith(("data/", "extra/", "cache/"))}
    assert sorted(below) == sorted([*wanted, "data/latest", "data/away"])
    assert below["data/latest"].is_symlink()
    assert below["data/away"] == tmp_path / "elsewhere"


def test_links_of_folders_become_what_they_lead_to_and_those_to_nothing_are_left_out(tmp_path: Path) -> None:
    filled(tmp_path, "shared.py", "base/data/x")
    (tmp_path / "own").mkdir()
    for name, target in (("inside.py", "main.py"), ("outside.py", "../shared.py"), ("nothing.py", "gone.py")):
        (tmp_path / "own" / name).symlink_to(target)
    (tmp_path / "base/data/nothing").symlink_to(tmp_path / "gone")
    found = files(tmp_path, with_data=True)
    code = {name: path.name for name, path in found.items() if name.startswith("code/own/")}
    assert code == {
        "code/own/inside.py": "main.py",
        "code/own/main.py": "main.py",
        "code/own/outside.py": "shared.py",
    }
    assert [name for name in found if name.startswith("data/")] == ["data/x"]


def test_of_a_repository_the_commit_that_is_used_is_packed(tmp_path: Path) -> None:
    filled(
        tmp_path,
        "key/commit",
        "key/.milabench.json",
        "key/now/tool/main.py",
        "key/before/tool/main.py",
        "key/partial/x",
    )
    (tmp_path / "key/now/tool/absolute.py").symlink_to(tmp_path / "key/now/tool/main.py")
    found = dict(packed._repository(tmp_path / "key", "sources/key", "now"))
    assert sorted(found) == [
        "sources/key/.milabench.json",
        "sources/key/commit",
        "sources/key/now/tool/absolute.py",
        "sources/key/now/tool/main.py",
    ]
    assert not any(path.is_symlink() for path in found.values())


def test_a_word_of_a_command_may_be_longer_than_a_file_name(tmp_path: Path) -> None:
    argv = ("sh", "-c", "echo " * 1000, "print.sh")
    filled(tmp_path, "print.sh")
    assert packed._own_files(Program(argv=argv, cwd=str(tmp_path))) == ["print.sh"]


@pytest.mark.parametrize(("output", "why"), [("none/a.tar", "there is no folder"), (".", "this is a folder")])
def test_what_no_bundle_can_be_written_to_is_told_first(tmp_path: Path, output: str, why: str) -> None:
    options = Options(config="quickstart", base=tmp_path, environ={})
    with pytest.raises(UsageError, match=why):
        asyncio.run(pack(options, Console(quiet=True), tmp_path / output))


def test_what_one_that_was_killed_has_left_is_removed_by_the_next_that_is_alone(tmp_path: Path) -> None:
    filled(tmp_path, "cache/packing/tmpleft/torch/wheels/a.whl")
    with packing_folder(tmp_path) as one:
        assert [path for path in (tmp_path / "cache/packing").iterdir() if path.is_dir()] == [one]
        filled(tmp_path, "cache/packing/tmpother/x")
        with packing_folder(tmp_path) as two:
            assert one.is_dir() and two.is_dir()
            assert (tmp_path / "cache/packing/tmpother/x").exists()
    with packing_folder(tmp_path) as three:
        assert [path for path in (tmp_path / "cache/packing").iterdir() if path.is_dir()] == [three]


def test_data_that_lies_elsewhere_is_told(tmp_path: Path) -> None:
    filled(tmp_path / "base", "data/x")
    (tmp_path / "base/data/all").symlink_to(tmp_path / "own")
    with pytest.raises(PreflightError, match="data/all leads out of the base to a folder"):
        files(tmp_path, with_data=True)
