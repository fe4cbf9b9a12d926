"""A YAML file as values that know where they were written.

YAML as its users know it, with the booleans of YAML 1.2 (``yes``, ``no``, ``on``, ``off`` are words), no dates and no
numbers in base 8 or 60, all of which turn words into something else; plain, safe data only.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from milabench.errors import ConfigurationError, Mark, Problem
from milabench.problems import Code, Problems

Value: TypeAlias = "None | bool | int | float | str | list[Node] | dict[str, Node]"

MAX_VALUES = 2_000_000  # aliases can make a small file mean a huge one
MAX_DEPTH = 60
MAX_BYTES = 64 * 2**20
MAX_SHOWN = 100
LARGEST = 10**300  # of whole numbers: a floating-point number still holds it
_TAG = "tag:yaml.org,2002:"
_UNKNOWN_TAG = "the tag {} is not understood: plain values only"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True, eq=False)
class Node:
    """A value and where it was written. Never changed once made (not frozen: that costs a third of reading a file).

    ``key`` is the line and column of the key it stands under, ``text`` how a number or truth value is spelled.
    ``before`` is the value it was merged over, or what it was worked out from, which then stands at the same
    place; ``origin`` is what was put into that text (the value a reference leads to, or a matrix has for a cell).
    ``united``: the list it was merged over is part of what was worked out from it.
    """

    value: Value
    file: str
    line: int
    column: int
    key: tuple[int, int] | None = None
    text: str | None = None
    before: Node | None = None
    origin: Node | None = None
    united: bool = False

    @property
    def mark(self) -> Mark:
        return Mark(file=self.file, line=self.line, column=self.column)

    @property
    def key_mark(self) -> Mark:
        """Where the key stands, or the value itself in a list."""
        line, column = self.key or (self.line, self.column)
        return Mark(file=self.file, line=line, column=column)

    def replaced(self, value: Value) -> Node:
        """Return another value written at this place."""
        return Node(value, self.file, self.line, self.column, self.key, None, self.before, self.origin, self.united)

    def over(self, lower: Node, *, united: bool = False) -> Node:
        """Return the same value as it stands over another, and over all that one stands over."""
        before = lower if self.before is None else self.before.over(lower, united=united)
        united = united if self.before is None else self.united
        return Node(self.value, self.file, self.line, self.column, self.key, self.text, before, self.origin, united)

    def made(self, value: Value, origin: Node | None = None, text: str | None = None) -> Node:
        """Return what this text, or this part of a list, was worked out to be, with what was put into it."""
        return Node(value, self.file, self.line, self.column, self.key, text, self, origin)

    @property
    def kind(self) -> str:
        """What a user calls this value."""
        match self.value:
            case dict():
                return "a map"
            case list():
                return "a list"
            case None:
                return "null"
            case bool():
                return "true or false"
            case str():
                return "text"
            case _:
                return "a number"

    @property
    def spelled(self) -> str:
        """A scalar as the user spelled it."""
        return self.text if self.text is not None else str(self.value)

    @property
    def shown(self) -> str:
        """What a message says of it: a scalar as it is written, anything else by its kind."""
        if isinstance(self.value, dict | list) or self.value is None:
            return self.kind
        text = self.spelled if len(self.spelled) <= MAX_SHOWN else f"{self.spelled[:MAX_SHOWN]}…"
        return repr(text) if isinstance(self.value, str) else text


def read(path: str | os.PathLike[str], problems: Problems | None = None) -> Node:
    """Return the map a file holds.

    Raises ConfigurationError with ``file:line:col`` when the file is missing, unreadable, empty, no YAML, no map, or
    has a key twice (all of these at once). ``problems`` that are lenient take a key that stands twice as a warning:
    the last one counts.
    """
    file = os.fspath(path)
    try:
        content = _content(file)
    except FileNotFoundError:
        raise _failure(Code.UNREADABLE, "there is no such file", file) from None
    except OSError as error:
        raise _failure(Code.UNREADABLE, f"cannot be read: {(error.strerror or str(error)).lower()}", file) from None
    root = parse(content, file, problems)
    if root is None:
        raise _failure(Code.NO_MAP, "the file is empty: write a map of names to what they describe", file)
    if not isinstance(root.value, dict):
        raise _failure(Code.NO_MAP, f"the top level must be a map, this is {root.kind}", file, root.line, root.column)
    return root


def _content(file: str) -> bytes:
    """Return what a plain file holds; nothing that may never end is waited for."""
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as stream:  # noqa: PTH123
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise _failure(Code.UNREADABLE, "cannot be read: it is no plain file", file)
        content = b"" if about.st_size > MAX_BYTES else stream.read(MAX_BYTES + 1) or b""
    if max(about.st_size, len(content)) > MAX_BYTES:  # some files do not know their size
        raise _failure(Code.UNREADABLE, f"cannot be read: it is larger than {MAX_BYTES >> 20} MiB", file)
    return content


def parse(content: str | bytes, file: str, problems: Problems | None = None) -> Node | None:
    """Return the value that YAML text describes, None when there is none; ``file`` is named in marks.

    Raises ConfigurationError as ``read`` does; with ``problems``, what is wrong with values is noted there instead.
    """
    composed = _compose(content, file)
    if composed is None:
        return None
    found = Problems() if problems is None else problems
    node = _Builder(file, found).node(composed, None, 0)
    if problems is None:
        found.raise_errors()
    return node


def plain(node: Node) -> Any:
    """Return a value without its marks."""
    match node.value:
        case dict() as entries:
            return {key: plain(entry) for key, entry in entries.items()}
        case list() as items:
            return [plain(item) for item in items]
        case scalar:
            return scalar


def at(node: Node, keys: Sequence[str]) -> Node | None:
    """Return what stands at a path below a node, None where nothing does."""
    found: Node | None = node
    for key in keys:
        found = found.value.get(key) if found is not None and isinstance(found.value, dict) else None
    return found


def annotate(value: Any, at: Node) -> Node:
    """Return plain data as nodes that were all written where ``at`` was."""
    match value:
        case dict():
            return at.replaced({str(key): annotate(entry, at) for key, entry in value.items()})
        case list() | tuple():
            return at.replaced([annotate(item, at) for item in value])
        case _:
            return at.replaced(value)


def strings(node: Node) -> Iterator[str]:
    """Yield every text in a value, keys included."""
    match node.value:
        case str() as text:
            yield text
        case dict() as entries:
            for key, entry in entries.items():
                yield key
                yield from strings(entry)
        case list() as items:
            for item in items:
                yield from strings(item)


def dump(value: Any) -> str:
    """Return plain data as YAML text that ``parse`` reads as the same, in block style and in the order it has."""
    return yaml.dump(
        value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, default_flow_style=False, width=1_000_000
    )


def _failure(code: Code, message: str, file: str, line: int = 1, column: int = 1) -> ConfigurationError:
    return ConfigurationError(
        [Problem(code=code.code, message=message, mark=Mark(file=file, line=line, column=column))]
    )


_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # where YAML has lines end
_NUMBER_STARTS = "-+.0123456789"
_IMPLICIT = (
    ("bool", "tTfF", r"^(?:true|True|TRUE|false|False|FALSE)$"),
    ("null", ("~", "n", "N", ""), r"^(?:~|null|Null|NULL|)$"),
    ("int", _NUMBER_STARTS, r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"),
    (
        "float",
        _NUMBER_STARTS,
        r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$",
    ),
)


def _implicit_types() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Return, for each first character, the types that a plain word may have."""
    types: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, starts, pattern in _IMPLICIT:
        for start in starts:
            types.setdefault(start, []).append((_TAG + tag, re.compile(pattern)))
    return types


class _Reader(_Loader):  # type: ignore[misc]
    """The fast safe loader with fewer implicit types than its own."""

    yaml_implicit_resolvers = _implicit_types()


def _dumper() -> type:
    """Return a safe dumper that quotes what would be no text here, or no text for other readers of YAML."""

    class Writer(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    for tag, starts, pattern in _IMPLICIT:
        Writer.add_implicit_resolver(_TAG + tag, re.compile(pattern), list(starts))
    return Writer


def _compose(content: str | bytes, file: str) -> yaml.Node | None:
    try:
        reader = _Reader(content)
        try:
            return reader.get_single_node()  # type: ignore[no-any-return]
        finally:
            reader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise _failure(Code.SYNTAX, f"invalid YAML: {message}", file, line, column) from None
    except yaml.reader.ReaderError as error:
        line, column = _position(content, error.position)
        raise _failure(Code.SYNTAX, f"invalid YAML: {error.reason}", file, line, column) from None
    except (UnicodeError, RecursionError, yaml.YAMLError) as error:
        raise _failure(Code.SYNTAX, f"invalid YAML: {error}", file) from None


def _position(content: str | bytes, offset: int) -> tuple[int, int]:
    """Return line and column (from 1) of an offset into a file."""
    text = content.encode() if isinstance(content, str) else content
    wide = text[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    lines = _BREAK.split(text[:offset].decode("utf-16" if wide else "utf-8", errors="ignore"))
    return len(lines), len(lines[-1]) + 1


class _Builder:
    """Turn composed YAML into nodes; what an alias repeats is shared."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.file = file
        self._problems = problems
        self._done: dict[int, tuple[Value, int]] = {}
        self._open: set[int] = set()
        self._values = 0  # in what is being built, as if aliases were written out

    def node(self, source: yaml.Node, key: tuple[int, int] | None, depth: int) -> Node:
        mark = source.start_mark
        line, column = mark.line + 1, mark.column + 1
        self._values += 1
        if self._values > MAX_VALUES:
            raise _failure(Code.SYNTAX, f"aliases make this more than {MAX_VALUES} values", self.file, line, column)
        if isinstance(source, yaml.ScalarNode):
            value = self._scalar(source)
            return Node(value, self.file, line, column, key, None if isinstance(value, str) else source.value)
        return Node(self._collection(source, depth), self.file, line, column, key)

    def _collection(self, source: yaml.Node, depth: int) -> Value:
        known = self._done.get(id(source))
        if known:
            self._values += known[1]
            return known[0]
        if id(source) in self._open or depth > MAX_DEPTH:
            self._note(Code.SYNTAX, "a value contains itself" if depth <= MAX_DEPTH else "nested too deep", source)
            return None
        if source.tag not in (_TAG + "map", _TAG + "seq"):
            self._note(Code.SYNTAX, _UNKNOWN_TAG.format(source.tag), source)
        before = self._values
        self._open.add(id(source))
        value: Value
        if isinstance(source, yaml.MappingNode):
            value = self._map(source, depth)
        else:
            value = [self.node(item, None, depth + 1) for item in source.value]
        self._open.discard(id(source))
        self._done[id(source)] = (value, self._values - before)
        return value

    def _map(self, source: yaml.MappingNode, depth: int) -> dict[str, Node]:
        merged: dict[str, Node] = {}
        entries: dict[str, Node] = {}
        for key, value in source.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(Code.SYNTAX, "a key must be a word", key)
            elif key.value == "<<" and not key.style:
                merged.update(self._merged(value, depth))
            else:
                if key.value in entries:
                    self._twice(key, entries[key.value].key_mark.line)
                at = key.start_mark
                entries[key.value] = self.node(value, (at.line + 1, at.column + 1), depth + 1)
        return {**merged, **entries} if merged else entries

    def _twice(self, key: yaml.ScalarNode, first: int) -> None:
        what = "the last one counts" if self._problems.lenient else "keep one (--legacy takes the last)"
        self._note(Code.DUPLICATE_KEY, f"{key.value!r} is given twice, first in line {first}: {what}", key)

    def _merged(self, source: yaml.Node, depth: int) -> dict[str, Node]:
        """Return the entries of a YAML merge key; of several maps the first has the say."""
        sources = source.value if isinstance(source, yaml.SequenceNode) else [source]
        entries: dict[str, Node] = {}
        for item in reversed(sources):
            value = self._collection(item, depth + 1) if isinstance(item, yaml.MappingNode) else None
            if isinstance(value, dict):
                entries.update(value)
            else:
                self._note(Code.SYNTAX, "<< needs a map, or a list of maps", item)
        return entries

    def _scalar(self, source: yaml.ScalarNode) -> Value:
        text: str = source.value
        match source.tag.removeprefix(_TAG):
            case "str" | "!":
                return text
            case "null" | "!delete":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" | "float" as kind:
                try:
                    number = int(text, 0) if kind == "int" else _float(text)
                except ValueError:
                    self._note(Code.SYNTAX, f"{text[:MAX_SHOWN]!r} is no number", source)
                    return None
                if isinstance(number, int) and abs(number) >= LARGEST:
                    self._note(Code.OUT_OF_RANGE, "the number is too large for any use", source)
                return number
            case _:
                self._note(Code.SYNTAX, _UNKNOWN_TAG.format(source.tag), source)
        return None

    def _note(self, code: Code, message: str, source: yaml.Node) -> None:
        mark = Mark(file=self.file, line=source.start_mark.line + 1, column=source.start_mark.column + 1)
        self._problems.add(code, message, mark)


def _float(text: str) -> float:
    lowered = text.lower()
    return float(lowered.replace(".inf", "inf").replace(".nan", "nan").replace("_", ""))
