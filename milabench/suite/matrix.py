"""One entry with ``matrix`` and ``job`` as many benchmarks, one per cell.

Where ``{key}`` stands in the job, a hole is left before anything else is done with it; the job is merged with its
parents and its references are replaced once, and each cell fills the holes. What has no hole is shared by all cells.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from milabench.document import Node, plain, strings
from milabench.merge import items, merge
from milabench.problems import Code, Problems, nearest

Cell: TypeAlias = Mapping[str, Any]
ROWS = ("include", "exclude")
MAX_CELLS = 100_000
_HOLE = re.compile("\0(.+?)\0(.*?)\0")  # a character that YAML can hold in no other way than escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The cells in the order written (first key outermost), and the job with holes; ``entry`` is where it stands."""

    cells: tuple[Cell, ...]
    job: Node
    entry: Node


def read(name: str, entry: Node, problems: Problems) -> Matrix | None:
    """Return the matrix of an entry; None, and problems noted, where it cannot be expanded."""
    content = entry.value if isinstance(entry.value, dict) else {}
    matrix, job = content.get("matrix"), content.get("job")
    if matrix is None or job is None:
        there, missing = ("matrix", "job") if job is None else ("job", "matrix")
        if not _misspelt(missing, content, name, problems):
            message, mark = f"{name} has {there} but no {missing}: it needs both", content[there].key_mark
            problems.add(Code.MATRIX, message, mark, path=f"{name}.{there}")
        return None
    for key, node in (("matrix", matrix), ("job", job)):
        if not isinstance(node.value, dict):
            problems.add(Code.MATRIX, f"{key} needs a map, not {node.kind}", node.mark, path=f"{name}.{key}")
            return None
    rest = {key: node for key, node in content.items() if key not in ("matrix", "job", *ROWS)}
    job = merge(job, entry.replaced(rest), problems, f"{name}.job") if rest else job
    axes = {key: node for key, node in _map(matrix).items() if key not in ROWS}
    rows = {key: _rows(key, _map(matrix).get(key) or content.get(key), name, problems) for key in ROWS}
    values = {key: [plain(item) for item in items(node)] for key, node in axes.items()}
    _check_excluded(rows["exclude"], values, name, problems)
    count = math.prod(map(len, values.values()))
    cells = _cells(values, {key: list(map(plain, nodes)) for key, nodes in rows.items()}) if count <= MAX_CELLS else ()
    if not cells:
        message = (
            "the matrix has no cell" if count <= MAX_CELLS else f"the matrix has {count} cells: {MAX_CELLS} at most"
        )
        problems.add(Code.MATRIX, message, matrix.mark, path=f"{name}.matrix")
        return None
    keys = list(dict.fromkeys(key for cell in cells for key in cell))
    holed = _with_holes(job, keys)
    return Matrix(cells=cells, job=holed, entry=entry) if _has_name(holed, keys, name, problems) else None


def _misspelt(missing: str, content: Mapping[str, Node], path: str, problems: Problems) -> bool:
    """Return whether a key is a slip of the one that is missing, and note it."""
    near = nearest(missing, (key for key in content if key not in ("matrix", "job") and not key.startswith("x-")))
    if near is not None:
        message, mark = f"{near!r} has no meaning in {path}", content[near].key_mark
        problems.add(Code.UNKNOWN_KEY, message, mark, path=f"{path}.{near}", suggestion=missing)
    return near is not None


def _has_name(job: Node, keys: list[str], name: str, problems: Problems) -> bool:
    """Return whether a job says how its benchmarks are called; what is wrong with it is noted."""
    content, path = _map(job), f"{name}.job"
    if "name" not in content:
        if not _misspelt("name", content, path, problems):
            message = f"job needs a name that differs from cell to cell, such as '{name}-{{{next(iter(keys), 'key')}}}'"
            problems.add(Code.MATRIX, message, job.mark, path=path)
        return False
    called = content["name"]
    if isinstance(called.value, dict | list | None):
        message = f"the name of a job needs text, not {called.kind}"
        problems.add(Code.MATRIX, message, called.mark, path=f"{path}.name")
        return False
    unknown = re.search(r"(?<!\$)\{([^{}]+)\}", str(called.value))
    if unknown:
        message, near = f"{unknown[0]} names no key of the matrix", nearest(unknown[1], keys)
        problems.add(Code.MATRIX, message, called.mark, path=f"{path}.name", suggestion=near)
    return unknown is None


def _map(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _rows(key: str, node: Node | None, name: str, problems: Problems) -> list[Node]:
    rows = []
    for row in items(node) if node else []:
        if isinstance(row.value, dict):
            rows.append(row)
        else:
            message = f"{key} needs rows that are maps, not {row.kind}"
            problems.add(Code.MATRIX, message, row.mark, path=f"{name}.matrix.{key}")
    return rows


def _check_excluded(rows: Iterable[Node], axes: Mapping[str, list[Any]], name: str, problems: Problems) -> None:
    """Note what keeps a row from excluding anything: a key that no axis has, or a value that an axis has not."""
    path = f"{name}.matrix.exclude"
    for row in rows:
        for key, value in _map(row).items():
            if key not in axes:
                message, near = f"{key!r} is no key of the matrix: nothing is excluded by it", nearest(key, axes)
                problems.add(Code.MATRIX, message, value.key_mark, path=path, suggestion=near)
            elif not any(_equal(plain(value), each) for each in axes[key]):
                message = f"the matrix has no {key} that is {value.shown}: this row excludes nothing"
                problems.add(Code.IDLE_ROW, message, value.mark, path=path)


def _cells(axes: Mapping[str, list[Any]], rows: Mapping[str, list[dict[str, Any]]]) -> tuple[Cell, ...]:
    """Return the product of the axes less excluded rows; an included row goes into the cells it fits, or is its own.

    An included row fits a cell when it contradicts none of the axes' values.
    """
    product = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    cells = [cell for cell in product if not any(_matches(cell, row) for row in rows["exclude"])]
    added = []
    for row in rows["include"]:
        fitting = [cell for cell in cells if all(key not in axes or _equal(cell[key], row[key]) for key in row)]
        for cell in fitting:
            cell.update(row)
        if not fitting:
            added.append(dict(row))
    return (*cells, *added)


def _matches(cell: Cell, row: Mapping[str, Any]) -> bool:
    return all(key in cell and _equal(cell[key], value) for key, value in row.items())


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values are the same to a user: 1 and true are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


# Holes -----------------------------------------------------------------------------------------------------------


def _with_holes(job: Node, keys: list[str]) -> Node:
    longest_first = sorted(keys, key=len, reverse=True)
    pattern = re.compile(r"(?<!\$)\{(" + "|".join(map(re.escape, longest_first)) + r")(?::([^{}]*))?\}")
    return _rewritten(job, lambda text: pattern.sub(lambda match: f"\0{match[1]}\0{match[2] or ''}\0", text))


def _rewritten(node: Node, change: Any) -> Node:
    match node.value:
        case str() as text:
            return node.replaced(change(text)) if "{" in text else node
        case dict() as entries:
            return node.replaced({change(key): _rewritten(entry, change) for key, entry in entries.items()})
        case list() as values:
            return node.replaced([_rewritten(item, change) for item in values])
        case _:
            return node


def by_parents(matrix: Matrix, name: str, problems: Problems) -> Iterator[tuple[Node, list[Cell]]]:
    """Yield the job for each set of parents, and the cells that inherit them: ``inherits`` may differ between cells."""
    parents = _map(matrix.job).get("inherits")
    if parents is None or not any("\0" in text for text in strings(parents)):
        yield matrix.job, list(matrix.cells)
        return
    groups: dict[str, tuple[Node, list[Cell]]] = {}
    for cell in matrix.cells:
        filled = Filler(parents, name, problems).fill(cell)
        key = repr(plain(filled))
        if key not in groups:
            groups[key] = (matrix.job.replaced({**_map(matrix.job), "inherits": filled}), [])
        groups[key][1].append(cell)
    yield from groups.values()


class Filler:
    """Fill the holes of one node for any number of cells, copying only what leads to a hole."""

    def __init__(self, node: Node, path: str, problems: Problems) -> None:
        self._node = node
        self._path = path
        self._problems = problems
        self._holed: set[int] = set()
        self._find(node)

    def _find(self, node: Node) -> bool:
        value = node.value
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        found = [part for part in inside if self._find(part)]
        if found or (isinstance(value, str | dict) and any("\0" in text for text in _texts(value))):
            self._holed.add(id(node))
        return id(node) in self._holed

    def fill(self, cell: Cell) -> Node:
        """Return the node as one cell has it; a hole that the cell has no value for is noted."""
        return self._filled(self._node, cell)

    def _filled(self, node: Node, cell: Cell) -> Node:
        if id(node) not in self._holed:
            return node
        value = node.value
        if isinstance(value, str):
            return node.made(self._text(node, value, cell))
        if isinstance(value, dict):
            return node.replaced(
                {
                    (str(self._text(node, key, cell)) if "\0" in key else key): self._filled(entry, cell)
                    for key, entry in value.items()
                }
            )
        return node.replaced([self._filled(item, cell) for item in value] if isinstance(value, list) else value)

    def _text(self, node: Node, text: str, cell: Cell) -> Any:
        whole = _HOLE.fullmatch(text)
        if whole and not whole[2] and whole[1] in cell and (cell[whole[1]] is None or isinstance(cell[whole[1]], bool)):
            return cell[whole[1]]  # a flag that is on, or an option that is dropped
        return _HOLE.sub(lambda match: self._value(node, match, cell), text)

    def _value(self, node: Node, match: re.Match[str], cell: Cell) -> str:
        key, form = match[1], match[2]
        if key not in cell:
            message = f"a row of the matrix has no value for {{{key}}}"
            self._problems.add(Code.MATRIX, message, node.mark, path=self._path)
            return ""
        try:
            if re.search("[0-9]{3}", form):
                raise ValueError("wider than any argument")
            return format(cell[key], form) if form else label(cell[key])
        except (ValueError, TypeError, OverflowError):
            message = f"{cell[key]!r} cannot be written as {{{key}:{form}}}"
            self._problems.add(Code.MATRIX, message, node.mark, path=self._path)
            return ""


def written(text: str) -> str:
    """Return a text with its holes as they were written: ``{key}``."""
    return _HOLE.sub(lambda match: f"{{{match[1]}{':' * bool(match[2])}{match[2]}}}", text)


def holes(text: str) -> list[str]:
    """Return the keys of a text's holes."""
    return [match[1] for match in _HOLE.finditer(text)]


def place(entry: Node, key: str, value: Any) -> Node | None:
    """Return where a matrix has the value that a cell holds under a key."""
    table = _map(_map(entry).get("matrix", entry))
    for node in [table.get(key), *(row.value.get(key) for row in _row_nodes(table, _map(entry)))]:
        for item in items(node) if node else []:
            if _equal(plain(item), value):
                return item
    return None


def _row_nodes(table: Mapping[str, Node], entry: Mapping[str, Node]) -> Iterator[Any]:
    rows = table.get("include") or entry.get("include")
    yield from (row for row in (items(rows) if rows else []) if isinstance(row.value, dict))


def _texts(value: str | dict[str, Node]) -> Iterable[str]:
    return [value] if isinstance(value, str) else value


def label(value: Any) -> str:
    """Return a cell's value as text; a list is comma-joined."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
