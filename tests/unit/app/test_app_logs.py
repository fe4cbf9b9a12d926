"""What processes printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.app.logs import logs
from milabench.errors import RunDirError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name, text in {
        "runs/one.2025-03-01_10-00-00/plan.json": "{}",
        "runs/one.2025-03-01_10-00-00/a.D0.stdout": "1\n2\n3\n",
        "runs/one.2025-03-01_10-00-00/a.D0.stderr": "",
        "runs/one.2025-03-01_10-00-00/a.D1.stderr": "bad\n",
        "runs/one.2025-03-01_10-00-00/ab.D0.stdout": "other\n",
        "runs/one.2025-03-01_10-00-00/far.D0.data": "",
        "extra/setup/torch.packages.stderr": "resolved\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("a", {}, [("a.D0.stdout", ["1", "2", "3"]), ("a.D1.stderr", ["bad"])]),
        ("a", {"lines": 2}, [("a.D0.stdout", ["2", "3"]), ("a.D1.stderr", ["bad"])]),
        ("a.D1", {}, [("a.D1.stderr", ["bad"])]),
        ("far", {}, []),  # on another machine, where it printed nothing
        ("torch", {"setup": True}, [("torch.packages.stderr", ["resolved"])]),
    ],
)
def test_the_files_of_a_benchmarks_processes_are_shown(
    base: Path, name: str, options: dict[str, int], found: list[tuple[str, list[str]]]
) -> None:
    assert [(log.path.name, log.lines) for log in logs(name, None, base, **options)] == found


def test_of_an_older_run_which_has_no_logs_nobody_is_told_to_have_printed_nothing(base: Path) -> None:
    (base / "runs/old.2022-03-01_10-00-00").mkdir()
    (base / "runs/old.2022-03-01_10-00-00/a.D0.data").write_text("")
    with pytest.raises(RunDirError, match="no process of 'a'"):
        logs("a", "old", base)


def test_an_unknown_name_is_answered_with_the_nearest(base: Path) -> None:
    with pytest.raises(RunDirError, match=r"no process of 'abb' .* \(did you mean 'ab'\?\); --setup"):
        logs("abb", "one", base)
