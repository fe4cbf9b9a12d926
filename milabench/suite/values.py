"""Nodes as typed values. A reader takes a node and its path, notes what is wrong, returns a value to go on with."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping

from milabench import expression, placeholders
from milabench.document import Node
from milabench.errors import Mark
from milabench.merge import appended, items
from milabench.problems import Code, Problems, nearest
from milabench.tokens import ExpressionError

MAX_INTEGER = 2**63 - 1
MAX_FOLDER = 200  # bytes of its name
_SPELLED = {"second": "s", "minute": "min", "hour": "h", "day": "d"}


class Reader:
    """Typed reading of nodes over one collection of problems.

    ``complete`` is false while templates are read: what they leave out, others may add.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.complete = True

    def wrong(self, node: Node, path: str, message: str, code: Code = Code.WRONG_TYPE, near: str | None = None) -> None:
        """Note a mistake of a value, unless its place is known to be wrong already."""
        if not self.problems.failed(node.mark):
            self.problems.add(code, f"{path} {message}", node.mark, path=path, suggestion=near)

    def missing(self, node: Node, path: str, message: str, code: Code = Code.MISSING_KEY) -> None:
        """Note that a value lacks something, unless it is a template's."""
        if self.complete:
            self.problems.add(code, f"{path} {message}", node.mark, path=path)

    def boolean(self, node: Node, path: str) -> bool:
        if not isinstance(node.value, bool):
            self.wrong(node, path, f"needs true or false, not {node.shown}")
        return node.value is True

    def text(self, node: Node, path: str) -> str:
        if not isinstance(node.value, str) or not node.value:
            self.wrong(node, path, f"needs a word, not {node.shown}")
        return str(node.value)

    def word(self, node: Node, path: str) -> str:
        """Return text that may be the name of a folder."""
        text = self.text(node, path)
        bad = set(text) & set("/\\\0\n") or text in (".", "..") or len(text.encode()) > MAX_FOLDER
        if isinstance(node.value, str) and node.value and bad:
            self.wrong(node, path, f"names a folder and cannot be {node.shown}", Code.BAD_NAME)
        return text

    def integer(self, node: Node, path: str, least: int, most: int = MAX_INTEGER) -> int:
        value = node.value
        if isinstance(value, str) and value.isdecimal() and len(value) < 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong(node, path, f"needs a whole number, not {node.shown}")
            return least
        if value < least:
            self.wrong(node, path, f"needs at least {least}, not {value}", Code.OUT_OF_RANGE)
            return least
        if value > most:
            self.wrong(node, path, f"needs at most {most}, not {node.shown}", Code.OUT_OF_RANGE)
            return least
        return value

    def number(self, node: Node, path: str, least: float, most: float = math.inf) -> float:
        value = node.value
        if isinstance(value, str):
            value = _number(value)
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            value = math.inf
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            self.wrong(node, path, f"needs a number, not {node.shown}")
            return least
        if not least <= value <= most:
            span = f"between {least:g} and {most:g}" if math.isfinite(most) else f"of at least {least:g}"
            self.wrong(node, path, f"needs a number {span}, not {value:g}", Code.OUT_OF_RANGE)
            return least
        return value

    def fraction(self, node: Node, path: str) -> float:
        """Return a number from 0 to 1; ``50%`` is one too."""
        if isinstance(node.value, str) and node.value.endswith("%"):
            return self._percentage(node, node.value, path)
        return self.number(node, path, 0, 1)

    def _percentage(self, node: Node, text: str, path: str) -> float:
        try:
            share = expression.percentage(text)
        except ExpressionError as error:
            self.wrong(node, path, f"is {error.message}: {text!r}", Code.BAD_UNIT)
            return 0.0
        if not 0 <= share <= 1:
            self.wrong(node, path, f"needs a percentage between 0% and 100%, not {text}", Code.OUT_OF_RANGE)
            return 0.0
        return share

    def seconds(self, node: Node, path: str) -> float:
        """Return a time above 0, in seconds."""
        if not isinstance(node.value, int | float | str) or isinstance(node.value, bool):
            self.wrong(node, path, f"needs a time such as 90, 90s or 10m, not {node.shown}")
            return 1.0
        try:
            value = expression.duration(node.value)
        except ExpressionError as error:
            near = _nearest_time(node.value) if isinstance(node.value, str) else None
            self.wrong(node, path, f"is {error.message}: {node.value!r}", Code.BAD_UNIT, near)
            return 1.0
        if not 0 < value < math.inf:
            self.wrong(node, path, f"needs a time above 0, not {node.shown}", Code.OUT_OF_RANGE)
            return 1.0
        return value

    def choice(self, node: Node, path: str, allowed: Iterable[str]) -> str | None:
        """Return one of the allowed words, None where it is another; ``-`` equals ``_``."""
        allowed = list(allowed)
        word = node.value.replace("-", "_") if isinstance(node.value, str) else ""
        if word in allowed:
            return word
        message = f"needs one of {', '.join(allowed)}, not {node.shown}"
        self.wrong(node, path, message, Code.BAD_CHOICE, nearest(word, allowed))
        return None

    def words(self, node: Node, path: str) -> tuple[str, ...]:
        """Return the words of a list, or the one that is written instead of a list."""
        if isinstance(node.value, dict) and appended(node) is None:
            self.wrong(node, path, f"needs a list of words, not {node.shown}")
            return ()
        found = []
        for index, item in enumerate(items(node)):
            if isinstance(item.value, dict | list) or item.value is None:
                self.wrong(item, f"{path}[{index}]", f"needs a word, not {item.shown}")
            else:
                found.append(item.spelled)
        return tuple(found)

    def tokens(self, node: Node, path: str) -> tuple[str, ...]:
        """Return words in which placeholders and functions may stand."""
        for index, item in enumerate(items(node)):
            if isinstance(item.value, str):
                self.token(item.value, item.mark, f"{path}[{index}]" if item is not node else path)
        return self.words(node, path)

    def token(self, text: str, mark: Mark, path: str) -> None:
        """Note a placeholder or function in a text that stands for nothing; templates may hold what others fill in."""
        if (placeholders.is_plain(text) and "}" not in text) or not self.complete or self.problems.failed(mark):
            return
        try:
            placeholders.check(text)
        except placeholders.PlaceholderError as error:
            self.problems.add(error.code, f"{path}: {error}", mark, path=path, suggestion=error.suggestion)
            return
        half = placeholders.half(text)
        if half:
            written, meant = half
            message = f"{path}: {written} lacks a brace, and is passed on as it is written"
            self.problems.add(Code.HALF_PLACEHOLDER, message, mark, path=path, suggestion=meant)

    def entries(self, node: Node, path: str, wanted: str = "a map") -> dict[str, Node]:
        """Return the entries of a map that are not null; ``wanted`` is what else may stand there, in words."""
        if not isinstance(node.value, dict):
            if node.value is not None:
                self.wrong(node, path, f"needs {wanted}, not {node.shown}")
            return {}
        return {key: entry for key, entry in node.value.items() if entry.value is not None}

    def environment(self, node: Node, path: str) -> dict[str, str]:
        """Return variables as text: numbers as they are spelled; placeholders may stand in it."""
        variables = {}
        for name, value in self.entries(node, path).items():
            if isinstance(value.value, dict | list):
                self.wrong(value, f"{path}.{name}", f"needs text, not {value.shown}")
            elif not name or "=" in name:
                message = f"{path} has a variable that cannot be named {name!r}"
                self.problems.add(Code.BAD_NAME, message, value.key_mark, path=f"{path}.{name}")
            else:
                self.token(value.spelled, value.mark, f"{path}.{name}")
                variables[name] = value.spelled
        return variables

    def known(
        self, node: Node, path: str, known: Collection[str], legacy: Mapping[str, tuple[Code, str]] | None = None
    ) -> dict[str, Node]:
        """Return the entries with a known key that are not null; another key is a mistake, a legacy one a warning."""
        found = self.entries(node, path)
        for key, entry in node.value.items() if isinstance(node.value, dict) else ():
            if key in known or key.startswith("x-"):
                continue
            found.pop(key, None)
            if legacy and key in legacy:
                code, message = legacy[key]
                self.problems.add(code, message, entry.key_mark, path=f"{path}.{key}")
            else:
                message = f"{key!r} has no meaning in {path}"
                self.problems.add(
                    Code.UNKNOWN_KEY, message, entry.key_mark, path=f"{path}.{key}", suggestion=nearest(key, known)
                )
        return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _nearest_time(text: str) -> str | None:
    """Return a time whose unit is only spelled otherwise: ``10 min`` for ``10 minutes``."""
    found = re.fullmatch(r"([0-9.]+\s*)([a-z]+)", text)
    near = nearest(found[2], (*expression.SECONDS, *_SPELLED)) if found else None
    return f"{found[1]}{_SPELLED.get(near, near)}" if found and near and near[0] == found[2][0] else None
