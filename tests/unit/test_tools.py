"""What travels to nodes to make environments there: whole, for whatever Python, named by what it holds."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from milabench import tools
from milabench.errors import PreflightError
from milabench.tools import Tool


def test_pip_and_setuptools_come_as_wheels_for_the_oldest_python() -> None:
    files = tools.seeds().files
    assert sorted(name.partition("-")[0] for name in files) == ["pip", "setuptools"]
    for path in files.values():
        with zipfile.ZipFile(path) as wheel:
            metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")))
        least = re.search(rb"^Requires-Python: >=3\.(\d+)", metadata, re.M)
        assert least is not None
        assert int(least[1]) <= 10


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
    (pip,) = (name for name in tools.seeds().files if name.startswith("pip-"))
    assert tools.seeds().name.startswith(f"pip-{pip.split('-')[1]}-")


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
