"""The reference pages: what is generated in them, between ``<!-- suite: weight tags -->`` and ``<!-- end -->``.

``python -m milabench.reference.pages PAGE…`` writes it anew; all other text of a page is written by hand.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from milabench import options, placeholders
from milabench.document import dump
from milabench.keys import Key, Kind
from milabench.problems import Code
from milabench.suite.forms import FORMS
from milabench.suite.forms import TOP as SUITE
from milabench.suite.language import KEYS
from milabench.system.language import KEYS as SYSTEM
from milabench.system.language import TOP as SYSTEM_FILE

_BLOCK = re.compile(r"<!-- (\w+)(?:: ([^>]*?))? -->\n.*?<!-- end -->", re.DOTALL)


def filled(page: str) -> str:
    """Return a page with what is generated in it made anew. Raises KeyError for a block that is none."""
    return _BLOCK.sub(lambda block: "\n\n".join([block[0].split("\n")[0], _content(block), "<!-- end -->"]), page)


def _content(block: re.Match[str]) -> str:
    return "\n".join(_BLOCKS[block[1]]((block[2] or "").split()))


def _table(*columns: str, rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield from (f"| {' | '.join(columns)} |", "|---" * len(columns) + "|")
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _keys(known: Mapping[str, Key], names: Iterable[str]) -> Iterator[str]:
    rows = (row for name in names for row in _rows(known[name], name))
    return _table("key", "value", "default", "meaning", "example", rows=rows)


def _rows(key: Key, path: str) -> Iterator[tuple[str, ...]]:
    """Yield the row of a key and those of the keys inside it."""
    yield f"`{path}`", _value(key), _default(key), key.meaning, _code(key.example)
    for name, inner in key.inside.items():
        yield from _rows(inner, f"{path}.{name}")


def _value(key: Key) -> str:
    words = _VALUES[key.kind]
    if key.kind == "choice":
        words = ", ".join(f"`{choice}`" for choice in key.choices)
    if key.least is not None and key.kind in ("number", "whole"):
        bounded = key.most is not None and math.isfinite(key.most)
        words += f", {key.least:g} to {key.most:g}" if bounded else f", at least {key.least:g}"
    return f"{words}; or a map" if key.inside and key.kind not in ("map", "maps", "entry") else words


def _default(key: Key) -> str:
    if key.default is None:
        return key.otherwise
    return _code(dump(key.default).removesuffix("...\n").strip())


def _code(text: str) -> str:
    return "<br>".join(f"`{line}`" for line in text.split("\n"))


def _codes(names: Iterable[str]) -> Iterator[str]:
    wanted = tuple(names)
    return _table(
        "code", "what is wrong", rows=((code.code, code.meaning) for code in Code if code.code.startswith(wanted))
    )


def _options(_: Iterable[str]) -> Iterator[str]:
    rows = (
        (f"`{name}`", kind, default, f"`{variable}`", meaning)
        for name, kind, default, variable, meaning in options.rows()
    )
    return _table("option", "value", "default", "variable", "meaning", rows=rows)


def _placeholders(_: Iterable[str]) -> Iterator[str]:
    known = {**placeholders.NUMBERS, **placeholders.TEXTS}
    return _table("placeholder", "is", rows=((f"`{{{name}}}`", meaning) for name, meaning in known.items()))


_BLOCKS: Mapping[str, Callable[[Iterable[str]], Iterator[str]]] = {
    "file": lambda names: _keys(SUITE, names),
    "forms": lambda _: _keys(FORMS, FORMS),
    "suite": lambda names: _keys(KEYS, names),
    "system": lambda names: _keys({**SYSTEM, **SYSTEM_FILE}, names),
    "codes": _codes,
    "options": _options,
    "placeholders": _placeholders,
}
_VALUES: Mapping[Kind, str] = {
    "any": "anything",
    "argv": "map of options, or list of words",
    "choice": "",
    "entry": "map: an entry",
    "fraction": "number from 0 to 1, or a percentage",
    "map": "map",
    "maps": "list of maps",
    "number": "number",
    "program": "list of words",
    "scalar": "text or number",
    "size": "size",
    "switch": "`true` or `false`",
    "text": "text",
    "texts": "text, or list of texts",
    "time": "time",
    "variables": "map of names to values",
    "whole": "whole number",
    "words": "word, or list of words",
}


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
