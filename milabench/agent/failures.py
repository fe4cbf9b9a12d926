"""What to say of an exception, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def bug(problem: BaseException) -> str:
    """Return what to say of an exception that nothing expects."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
    return f"milabench has a bug: {type(problem).__name__}: {problem}{where}"


def unwritable(problem: Exception) -> str:
    """Return why what a process said could not be written down."""
    if isinstance(problem, OSError):
        return f"its output cannot be written: {problem.strerror or problem}"
    return bug(problem)


def unstartable(error: OSError, request: Mapping[str, Any]) -> str:
    """Return why the process of a start request, or what starts its container, cannot be started."""
    contained = request.get("container")
    program = str(contained["executable"] if contained else request["argv"][0])
    missing = isinstance(error, FileNotFoundError) and "/" in program and not contained
    return (_without_interpreter(program, request["cwd"]) if missing else None) or (
        f"{error.strerror}: {error.filename or program}"
    )


def _without_interpreter(program: str, cwd: str) -> str | None:
    """Say that a script is there and what should run it is not: the kernel says "no such file" of the script."""
    with suppress(OSError), open(Path(cwd, program), "rb") as file:  # noqa: PTH123
        line = file.readline(256)
        if line.startswith(b"#!"):
            words = line[2:].decode(errors="replace").split() or [""]
            return f"{program} begins with #!, and there is no {words[0]}"
        return f"{program} is there, and the loader it names is not"
    return None
