"""The keys of a suite file (``TOP``), and forms of names and values (``FORMS``); examples are files.

The examples inherit a template ``_mine`` of their file's user.
"""

from __future__ import annotations

from collections.abc import Mapping

from milabench.keys import Key

TOP: Mapping[str, Key] = {
    "include": Key(
        kind="texts",
        meaning="Files that are read first and merged under this one, each path relative to the file that names it.",
        example="include: base.yaml\nmine: {inherits: _mine}",
    ),
    "_defaults": Key(
        kind="entry",
        meaning="A template like any other, which milabench itself begins: enabled, max_duration and the options of "
        "voir have their defaults in it.",
        example="_defaults: {max_duration: 5m}\nmine: {inherits: [_defaults, _mine]}",
    ),
    "*": Key(
        kind="entry",
        meaning="Merged over every benchmark, last of all.",
        example="'*': {max_duration: 2m}\nmine: {inherits: _mine}",
    ),
}

FORMS: Mapping[str, Key] = {
    "_name": Key(
        kind="entry",
        meaning="An entry whose name begins with _ is a template: others inherit it, it never runs.",
        example="_short: {max_duration: 1m}\nmine: {inherits: [_mine, _short]}",
    ),
    "x-…": Key(
        kind="any",
        meaning="A key that begins with x- is yours: it means nothing to milabench. In an entry it is handed to the "
        "benchmark. At the top of a file it is a note, unless it is a map with command, definition, inherits or "
        "matrix: then it is a benchmark of that name.",
        example="mine: {inherits: _mine, x-note: after the driver update}",
    ),
    "{append: […]}": Key(
        kind="any",
        meaning="Instead of a list: what is appended to the list of the parent, or of the file below.",
        example="mine: {inherits: _mine, requires_capabilities: {append: ['len(nodes) >= 2']}}",
    ),
    "null": Key(
        kind="any",
        meaning="Removes a key, or an entry, that a parent or a file below has.",
        example="mine: {inherits: _mine, argv: {--verbose: null}}",
    ),
    "${a.b}": Key(
        kind="any",
        meaning="The value of another key: from the top, beside this one (${.x}), or one level up (${..x}).",
        example="mine: {inherits: _mine, max_duration: '${_mine.max_duration}', x-twice: '${.max_duration}'}",
    ),
}
