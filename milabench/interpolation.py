"""``${references}`` inside a file of values: ``${a.b}`` from the top, ``${.x}`` beside, ``${..x}`` one level up.

A reference that is a whole text becomes the value it leads to, whatever its kind; inside a text it becomes text.
``\\${`` writes a plain ``${``. ``${oc.env:NAME,default}`` is a variable of the environment that is handed in. What goes
beyond these forms is left to OmegaConf, whose meaning the simple forms have as well.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from milabench import unreadable
from milabench.document import Node, annotate, plain
from milabench.problems import Code, Problems, nearest

Path = tuple[str, ...]

MAX_HOPS = 50
ENVIRONMENT = "environment variable"  # with its name, the file of a value that comes from there
MAX_MADE = 50_000  # values, or hundreds of letters, that references make of one entry
MAX_BEYOND = 10_000  # values that OmegaConf is given: each takes it 0.1 ms
LAUNCH_TIME = ("node", "main", "secret", "run")  # known only when a process starts: they stay as they stand
_SIMPLE = re.compile(r"(\\*)\$\{\s*(\.*)([^\\{}()\[\]:.\s'\"$]+(?:\.[^\\{}()\[\]:.\s'\"$]+)*)\s*\}")
_ENVIRON = re.compile(r"(?<!\\)\$\{oc\.env:\s*(\w+)\s*(?:,\s*([^{}]*?)\s*)?\}")
_LAUNCH = re.compile(rf"\$\{{(?:{'|'.join(LAUNCH_TIME)}):[^{{}}]*\}}")
_MARKED = re.compile("\x01([0-9]{1,6})\x01")
_ANYTHING = re.compile(".*", re.DOTALL)
_HARMLESS = re.compile(r"[\w.+/-]*")  # text that OmegaConf reads as itself wherever it stands
_OPENING = re.compile(rf"(\\*{_LAUNCH.pattern})|(\\*)\$\{{")


class _Failure(Exception):
    def __init__(self, code: Code, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.suggestion = suggestion


class _Aside:
    """Parts of a text that are never read, such as the values of variables; a mark stands for each meanwhile."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def mark(self, part: str) -> str:
        self._parts.append(part)
        return f"\x01{len(self._parts) - 1}\x01"

    def shown(self, text: str, only: re.Pattern[str] = _ANYTHING) -> str:
        """Return the text with each part, or only those that match, in its place."""

        def part(match: re.Match[str]) -> str:
            index = int(match[1])
            fits = index < len(self._parts) and only.fullmatch(self._parts[index])
            return self._parts[index] if fits else match[0]

        return _MARKED.sub(part, text) if self._parts else text


class Interpolator:
    """Replace references in the entries of ``root``; each is worked out when it is asked for, and once.

    ``entry`` returns an entry by name, so that entries may be made on demand. References into names of ``keep``
    (``system``) that are no entry stay as they stand.
    """

    def __init__(
        self,
        names: Collection[str],
        entry: Callable[[str], Node],
        problems: Problems,
        *,
        environ: Mapping[str, str],
        keep: Collection[str] = (),
    ) -> None:
        self._names = names
        self._entry = entry
        self._problems = problems
        self._environ = environ
        self._keep = keep
        self._clean: dict[int, Node] = {}
        self._open: list[Path] = []
        self._made = 0
        self._trees: dict[tuple[int, ...], tuple[Any, list[Node]]] = {}  # entries for OmegaConf, by their identities

    def resolve(self, name: str) -> Node:
        """Return an entry without references; problems are noted and leave the text as it was."""
        self._made = 0
        return self._value(self._entry(name), (name,))

    def _value(self, node: Node, path: Path) -> Node:
        """Return the value at a path with nothing left to replace; the same node where there was nothing."""
        value = node.value
        if isinstance(value, str):
            return self._text(node, value, path) if "${" in value else node
        if not isinstance(value, dict | list):
            return node
        if id(node) in self._clean:
            return node
        if self._open:
            self._count(len(value))
        result = node
        if isinstance(value, dict):
            entries = {key: self._value(entry, (*path, key)) for key, entry in value.items()}
            if any(entries[key] is not value[key] for key in entries):
                result = node.replaced(entries)
        else:
            items = [self._value(item, (*path, str(index))) for index, item in enumerate(value)]
            if any(new is not old for new, old in zip(items, value, strict=True)):
                result = node.replaced(items)
        if result is node:  # without references it is the same wherever it is inherited to
            self._clean[id(node)] = node
        return result

    def _text(self, node: Node, text: str, path: Path) -> Node:
        try:
            return self._replace(node, text, path)
        except _Failure as failure:
            where = ".".join(path)
            self._problems.add(failure.code, str(failure), node.mark, path=where, suggestion=failure.suggestion)
            return node

    def _replace(self, node: Node, text: str, path: Path) -> Node:
        if len(self._open) > MAX_HOPS:
            raise _Failure(Code.REFERENCE_CYCLE, f"references lead through more than {MAX_HOPS} others")
        if path in self._open:
            circle = " → ".join(".".join(step) for step in [*self._open[self._open.index(path) :], path])
            raise _Failure(Code.REFERENCE_CYCLE, f"references lead to each other: {circle}")
        self._open.append(path)
        origins: list[Node] = []
        try:
            aside = _Aside()
            text = _ENVIRON.sub(lambda match: aside.mark(self._variable(match, origins)), text)
            rest = _LAUNCH.sub("", _SIMPLE.sub("", text))
            if "${" in rest:
                return self._beyond(node, text, path, aside)
            whole = _SIMPLE.fullmatch(text)
            if whole and not whole[1]:
                found = self._reference(whole, path, aside)
                return node.made(aside.shown(text)) if found is None else node.made(found.value, found, found.text)
            result = aside.shown(_SIMPLE.sub(lambda match: self._embedded(match, path, origins, aside), text))
            self._count(1 + len(result) // 100)
            return node.made(result, origins[0] if origins else None)
        finally:
            self._open.pop()

    def _count(self, values: int) -> None:
        """Count what references make of an entry: a few that repeat each other could make it endless."""
        self._made += values
        if self._made > MAX_MADE:
            raise _Failure(Code.REFERENCE_CYCLE, "references repeat each other to more than anyone can use")

    def _embedded(self, match: re.Match[str], path: Path, origins: list[Node], aside: _Aside) -> str:
        slashes = match[1]
        if len(slashes) % 2:
            return slashes[: len(slashes) // 2] + match[0][len(slashes) :]
        found = self._reference(match, path, aside)
        if found is None:
            return match[0]
        origins.append(found)
        if isinstance(found.value, dict | list):
            raise _Failure(
                Code.UNKNOWN_REFERENCE, f"{aside.shown(match[0])} is {found.kind} and cannot stand inside a text"
            )
        return slashes[: len(slashes) // 2] + str(found.value)

    def _reference(self, match: re.Match[str], path: Path, aside: _Aside) -> Node | None:
        """Return what a simple reference leads to, None where it stays as it stands."""
        target = self._target(match, path, aside)
        return None if target is None else self._look_up(target, aside.shown(match[0]))

    def _target(self, match: re.Match[str], path: Path, aside: _Aside) -> Path | None:
        """Return the path that a simple reference at a path names, None where it stays as it stands."""
        dots, keys = len(match[2]), tuple(aside.shown(match[3]).split("."))
        if dots > len(path):
            raise _Failure(Code.UNKNOWN_REFERENCE, f"{aside.shown(match[0])} leads above the top of the file")
        start = path[: len(path) - dots] if dots else ()
        if not start and keys[0] in self._keep and keys[0] not in self._names:
            return None
        return (*start, *keys)

    def _look_up(self, path: Path, reference: str, hops: int = 0) -> Node:
        if path[0] not in self._names:
            message = f"{reference}: there is no {path[0]!r}; a backslash before $ makes it plain text"
            raise _Failure(Code.UNKNOWN_REFERENCE, message, nearest(path[0], self._names))
        node = self._entry(path[0])
        for depth, key in enumerate(path[1:], 1):
            if isinstance(node.value, str) and "${" in node.value:
                whole = _SIMPLE.fullmatch(node.value)
                target = self._target(whole, path[:depth], _Aside()) if whole and not whole[1] else None
                if target is not None and hops < MAX_HOPS:  # follow it alone: the rest of where it leads may need us
                    return self._look_up((*target, *path[depth:]), reference, hops + 1)
                node = self._replace(node, node.value, path[:depth])
            inside = dict(_parts(node))
            if key not in inside:
                message = f"{reference}: there is no {key!r} in {'.'.join(path[:depth])}"
                raise _Failure(Code.UNKNOWN_REFERENCE, message, nearest(key, inside))
            node = inside[key]
        if any(step[: len(path)] == path for step in self._open):
            circle = ".".join(path)
            raise _Failure(Code.REFERENCE_CYCLE, f"{reference} leads back to itself, through {circle}")
        if isinstance(node.value, str):
            return self._replace(node, node.value, path) if "${" in node.value else node
        return self._value(node, path)

    def _variable(self, match: re.Match[str], origins: list[Node]) -> str:
        name, default = match[1], match[2]
        if name in self._environ:
            origins.append(Node(self._environ[name], f"{ENVIRONMENT} {name}", 1, 1))
            return self._environ[name]
        if default is None:
            raise _Failure(
                Code.UNKNOWN_REFERENCE, f"the environment has no variable {name}: set it, or write a default"
            )
        return default.strip("'\"")

    def _beyond(self, node: Node, text: str, path: Path, aside: _Aside) -> Node:
        """Let OmegaConf work out what is more than a simple reference."""
        from omegaconf.errors import OmegaConfBaseException

        text, written = aside.shown(text, only=_HARMLESS), aside.shown(text)
        mentioned = {name for name in self._names if name in text} | {path[0]}
        hidden = _LAUNCH.sub(lambda match: aside.mark(match[0]), text)
        try:
            value = _by_omegaconf(self._tree(mentioned), path, hidden, str(node.value))
        except (OmegaConfBaseException, ValueError, TypeError, LookupError, RecursionError) as error:
            unread = unreadable.why(hidden)
            if unread:
                raise _Failure(Code.UNKNOWN_REFERENCE, aside.shown(unread)) from None
            if any(f"${{{name}." in text for name in self._keep):
                return node.made(written)
            message = str(error).splitlines()[0] if str(error) else "cannot be worked out"
            if unreadable.INSTEAD_NAME in message:
                message = "leads to a text whose references cannot be read"
            raise _Failure(Code.UNKNOWN_REFERENCE, f"{written}: {aside.shown(message)}") from None
        made = annotate(aside.shown(value) if isinstance(value, str) else value, node)
        return node.made(made.value)

    def _tree(self, names: Collection[str]) -> Any:
        """Return some entries as OmegaConf has them, the same for the same entries."""
        entries = {name: self._entry(name) for name in sorted(names)}
        key = tuple(map(id, entries.values()))
        if key not in self._trees:
            count = sum(map(_size, entries.values()))
            if count > MAX_BEYOND:
                raise ValueError(f"what it may refer to is more than {MAX_BEYOND} values")
            tree = unreadable.tree({name: plain(entry) for name, entry in entries.items()})
            self._trees[key] = (tree, list(entries.values()))
        return self._trees[key][0]


def _by_omegaconf(tree: Any, path: Path, text: str, before: str) -> Any:
    """Return what a text means to OmegaConf at a path of a tree, where ``before`` stands."""
    from omegaconf import OmegaConf

    holder: Any = tree
    for key in path[:-1]:
        holder = holder[int(key) if OmegaConf.is_list(holder) else key]
    last: Any = int(path[-1]) if OmegaConf.is_list(holder) else path[-1]
    holder[last] = text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = holder[last]
            return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        finally:
            holder[last] = before


def _size(node: Node) -> int:
    """Return how many values there are in one, as if each was written out; more than are allowed are not counted."""
    count = 1
    for _, part in _parts(node):
        if count > MAX_BEYOND:
            break
        count += _size(part)
    return count


def escaped(text: str, keep: Collection[str] = ()) -> str:
    """Return the text that is read as this one: nothing in it is taken for a reference.

    ``keep`` are the names that an Interpolator keeps.
    """
    rest = _LAUNCH.sub("", text)
    kept = [match[3].split(".")[0] in keep and not match[1] and not match[2] for match in _SIMPLE.finditer(rest)]
    if all(kept) and "${" not in _SIMPLE.sub("", rest):
        return text
    return _OPENING.sub(lambda match: match[1] or f"{match[2] * 2}\\${{", text)


def _parts(node: Node) -> Iterator[tuple[str, Node]]:
    if isinstance(node.value, dict):
        yield from node.value.items()
    elif isinstance(node.value, list):
        yield from ((str(index), item) for index, item in enumerate(node.value))
