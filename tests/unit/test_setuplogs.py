"""What came of processes that install and prepare, by what they printed last."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from milabench.outcome import Exit
from milabench.plan import Command
from milabench.setuplogs import SetupLogs

COMMAND = Command(tag="torch.packages", benchmark="torch", node="local", argv=("uv",), cwd="/")
_LIBRARY = (
    "/base/cache/tools/uv-1/uv: error while loading shared libraries: libgcc_s.so.1:"
    " cannot open shared object file: No such file or directory"
)


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("building\nno space\n", "exit code 127: no space"),
        (f"{_LIBRARY}\n", "exit code 127: uv needs libgcc_s.so.1, which is not there: give --installer pip"),
        (
            f"error: Failed to install: {'x' * 200}.whl: No space left on device (os error 28)\n",
            f"exit code 127: No space left on device: error: Failed to install: {'x' * 149}",
        ),
        ("", "exit code 127"),
    ],
)
def test_a_failure_has_what_was_printed_last_as_its_reason(tmp_path: Path, printed: str, reason: str) -> None:
    logs = SetupLogs(tmp_path)
    logs.begin(COMMAND, {})
    logs.files(COMMAND.tag).stderr.write_text(printed)
    found = logs.seal(COMMAND, Exit(tag=COMMAND.tag, code=127))
    assert (found.kind, found.reason) == ("failed", reason)


def test_a_failure_on_a_full_disk_says_so_where_nothing_could_be_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = SetupLogs(tmp_path)
    logs.begin(COMMAND, {})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    found = logs.seal(COMMAND, Exit(tag=COMMAND.tag, code=1))
    assert found.reason == "exit code 1; no room is left on the disk of its base"
