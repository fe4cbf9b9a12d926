"""What travels to nodes to make environments there: whole, for whatever Python, named by what it holds."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from milabench import tools
from milabench.errors import PreflightError
from milabench.tools import Tool


def test_virtualenv_comes_with_all_that_it_asks_for_on_any_python() -> None:
    files = tools.virtualenv().files
    assert {"virtualenv/__main__.py", "distlib/__init__.py", "filelock/__init__.py", "typing_extensions.py"} <= set(
        files
    )
    assert [name for name in files if name.startswith("virtualenv-") and name.endswith("entry_points.txt")]
    assert [name for name in files if "/seed/wheels/embed/pip-" in name]  # what it seeds: no network is needed
    assert not [name for name in files if ".." in name or name.startswith("/") or "__pycache__" in name]
    assert all(path.is_file() for path in files.values())


def test_milabenchs_modules_are_those_that_run_here() -> None:
    files = tools.sources().files
    assert {"milabench/agent/package.py", "milabench/pack.py", "benchmate/wire/__init__.py"} <= set(files)
    assert files["milabench/tools.py"] == Path(tools.__file__)


def test_a_tool_is_named_by_its_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "uv", tmp_path / "b" / "uv"
    for path, content in ((first, "1"), (second, "2")):
        path.parent.mkdir()
        path.write_text(content)
    names = {tools.uv(str(path)).name for path in (first, second)}
    assert len(names) == 2
    assert tools.virtualenv().name.startswith(f"virtualenv-{metadata.version('virtualenv')}-")


def test_what_is_put_together_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("x")
    (tmp_path / "program").chmod(0o755)
    whole = Tool(name="one", files={"bin/program": tmp_path / "program"})
    tools.assemble(whole, tmp_path / "tools/one")
    copied = tmp_path / "tools/one/bin/program"
    assert (copied.read_text(), copied.stat().st_mode & 0o777) == ("x", 0o755)
    (tmp_path / "program").write_text("y")
    tools.assemble(whole, tmp_path / "tools/one")
    assert copied.read_text() == "x"  # no link: the name holds a hash of what was there
    broken = Tool(name="two", files={"a": tmp_path / "program", "b": tmp_path / "gone"})
    with pytest.raises(PreflightError, match="cannot be put together: .*gone: No such file"):
        tools.assemble(broken, tmp_path / "tools/two")
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["one"]


def test_an_installation_that_does_not_say_what_it_is_made_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata.PathDistribution, "files", None)
    tools.virtualenv.cache_clear()
    with pytest.raises(PreflightError, match="installed without a list of its files"):
        tools.virtualenv()
