"""Mistakes in suite and system files: their stable codes, and the place that gathers them so that all are told."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Collection, Iterable

from milabench.errors import ConfigurationError, Mark, Problem


class Code(enum.Enum):
    """Every mistake and warning about a file, with its stable code: E1xx reading, E2xx structure, E3xx values,
    E4xx benchfiles and what only a plan shows, W1xx warnings."""

    UNREADABLE = ("E101", "a file is not there or cannot be read")
    SYNTAX = ("E102", "a file is no valid YAML")
    NO_MAP = ("E103", "a file is empty, or its top level is no map")
    DUPLICATE_KEY = ("E104", "a key stands twice in one map")
    INCLUDE = ("E105", "an include names no file that can be read")
    INCLUDE_CYCLE = ("E106", "files include each other in a circle")
    OVERRIDE = ("E107", "an override is not of the form name.key=value, or names no benchmark")
    WRONG_FILE = ("E108", "a part of a system file stands in a suite")

    UNKNOWN_KEY = ("E201", "a key that has no meaning here")
    UNKNOWN_PARENT = ("E202", "inherits names no entry")
    INHERIT_CYCLE = ("E203", "entries inherit each other in a circle")
    MAP_OVER_LIST = ("E204", "a map cannot be merged over a list, nor append onto a map")
    UNKNOWN_REFERENCE = ("E205", "a ${reference} leads nowhere, or to the system where that is not known yet")
    REFERENCE_CYCLE = ("E206", "${references} lead to each other in a circle")
    MATRIX = ("E207", "a matrix without job, job without matrix, or a job that cannot be expanded")
    EQUAL_NAMES = ("E208", "two benchmarks or nodes have the same name")
    BAD_NAME = ("E209", "a name that no file or folder can have")
    NO_PLAN = ("E210", "a benchmark says nothing about how it is placed")
    NO_PROGRAM = ("E211", "a benchmark needs exactly one of definition and command")
    NO_FOLDER = ("E212", "a folder that is not there")
    GIT = ("E213", "a repository, or a branch, tag, commit or folder of one, that cannot be fetched as it is written")
    TWO_MAINS = ("E215", "two nodes of a system are main")
    MISSING_KEY = ("E216", "a key that is needed is not given")
    PER_NODE = ("E217", "a key that contradicts plan: {method: per_node}")
    SBATCH = ("E218", "an argument that a profile of submit cannot give to sbatch")
    SAME_MACHINE = ("E219", "two nodes of a system have the same address and port")

    WRONG_TYPE = ("E301", "a value of the wrong kind")
    OUT_OF_RANGE = ("E302", "a number outside its range")
    BAD_UNIT = ("E303", "a quantity that cannot be read or has the wrong unit")
    ARGV_FALSE = ("E304", "false in argv: null drops an option")
    BAD_CAPABILITY = ("E305", "a condition that cannot be read")
    BAD_CHOICE = ("E306", "a word that is none of those allowed")
    BAD_HOSTKEY = ("E307", "a host key of SSH that is none")

    NO_PACKAGE = ("E401", "a benchfile names no package")
    NOTHING_TO_RUN = ("E402", "a folder without a main script, or anything else that says what to run")
    REFUSED = ("E403", "a benchfile wants to change something while the plan is made")
    BENCHFILE = ("E404", "a benchfile raises an exception")
    PLACEHOLDER = ("E410", "a placeholder that stands for nothing")
    SECRET = ("E411", "the value of a secret where only its name may stand")
    FUNCTION = ("E412", "a function in a token that cannot be read or computed")

    CAPABILITIES = ("W101", "the legacy key capabilities does nothing: use requires_capabilities")
    STUB = ("W102", "an entry switches off a benchmark that does not exist")
    ANCIENT_FORM = ("W103", "the defaults:/benchmarks: form of old files is not read")
    ANCIENT_MERGE = ("W104", "the plain key <<< does nothing: use inherits")
    ENTRY_IMAGE = ("W105", "docker_image of one benchmark does nothing: it belongs to the system file")
    OWN_BOOKKEEPING = ("W106", "a key that milabench writes itself is ignored in a file")
    IDLE_ARGV = ("W107", "argv does nothing beside command: write it in command.argv")
    NO_BENCHMARKS = ("W108", "a suite that describes no benchmark")
    NO_SYSTEM_KEY = ("W109", "an older system file without the key system:")
    NO_MAIN = ("W110", "no node is main: the first one is taken")
    IDLE_SYSTEM_KEY = ("W111", "a legacy key of system files that does nothing")
    LAST_COUNTS = ("W112", "with --legacy: a key stands twice in one map, and the last one counts")
    LITERAL = ("W113", "with --legacy: a placeholder that stands for nothing is passed on as it is written")
    IDLE_ROW = ("W114", "a row of a matrix excludes nothing")
    IDLE_NULL = ("W115", "null removes an entry that no file below has")
    NEEDS_AUTO = ("W116", "an option that changes batch sizes does nothing without sizer.auto")
    HALF_PLACEHOLDER = ("W117", "a placeholder without one of its braces is passed on as it is written")

    def __init__(self, code: str, meaning: str) -> None:
        self.code = code
        self.meaning = meaning

    @property
    def is_error(self) -> bool:
        return self.code.startswith("E")


LENIENT = {Code.DUPLICATE_KEY: Code.LAST_COUNTS, Code.PLACEHOLDER: Code.LITERAL}

UNREAD = (Code.UNREADABLE, Code.SYNTAX, Code.NO_MAP, Code.INCLUDE, Code.INCLUDE_CYCLE)  # what follows is not known


class Problems:
    """Gather the problems of a file and all it includes; one mistake that many entries inherit is told once."""

    __slots__ = ("_failed", "_seen", "errors", "lenient", "warnings")

    def __init__(self, *, lenient: bool = False) -> None:
        """``lenient`` makes warnings of what milabench's older releases took without a word."""
        self.lenient = lenient
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._seen: set[tuple[object, ...]] = set()
        self._failed: set[Mark] = set()

    def add(
        self, code: Code, message: str, mark: Mark | None = None, *, path: str = "", suggestion: str | None = None
    ) -> None:
        """Note one problem; a second one with the same code at the same place is dropped."""
        if self.lenient:
            code = LENIENT.get(code, code)
        key = (code, mark) if mark else (code, message)
        if key in self._seen:
            return
        self._seen.add(key)
        if mark and code.is_error:
            self._failed.add(mark)
        problem = Problem(code=code.code, message=message, mark=mark, path=path, suggestion=suggestion)
        (self.errors if code.is_error else self.warnings).append(problem)

    def failed(self, mark: Mark) -> bool:
        """Return whether an error has been noted at a place: what follows from it need not be told."""
        return mark in self._failed

    def extend(self, problems: Iterable[Problem]) -> None:
        """Take over errors that were raised elsewhere."""
        self.errors.extend(problems)

    def raise_errors(self, codes: Collection[Code] | None = None) -> None:
        """Raise ConfigurationError with all errors, in the order of their places, and warnings, if there are errors.

        ``codes``: only where one of the errors is one of these.
        """
        named = None if codes is None else {code.code for code in codes}
        if any(named is None or error.code in named for error in self.errors):
            raise ConfigurationError(sorted(self.errors, key=_place), self.warnings)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name most like ``word``, or None when none is like it."""
    found = difflib.get_close_matches(word, list(names), n=1)
    return found[0] if found else None


def _place(problem: Problem) -> tuple[str, int, int]:
    return (problem.mark.file, problem.mark.line, problem.mark.column) if problem.mark else ("", 0, 0)
