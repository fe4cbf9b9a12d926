"""What to say of an exception, in one line."""

from __future__ import annotations


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
