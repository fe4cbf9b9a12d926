"""The tables of keys → JSON Schema (draft 2020-12), by which editors describe, complete and check suites and systems.

It takes what the language takes, fragments of other files too: nothing is required, null may stand anywhere, and text
that holds ``{`` (a placeholder or a reference) wherever another kind of value is wanted. A key that is not known is
refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from milabench import document, options
from milabench.expression import BYTES, SECONDS
from milabench.keys import Key, Kind
from milabench.suite.forms import FORMS
from milabench.suite.forms import TOP as SUITE
from milabench.suite.language import KEYS
from milabench.suite.schema import LEGACY
from milabench.system.file import IDLE_KEYS
from milabench.system.language import KIND_OF_OPTION
from milabench.system.language import TOP as SYSTEM

Schema: TypeAlias = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER = r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_TEXT: Schema = {"type": "string", "minLength": 1}
_NULL: Schema = {"type": "null"}
_HELD_OPEN: Schema = {"$ref": "#/$defs/reference"}
_APPENDED: Schema = {"$ref": "#/$defs/append"}
_OWN: Schema = {"^x-": {"description": FORMS["x-…"].meaning}}
_DEFINITIONS: Schema = {
    "reference": {"description": "A {placeholder}, or a ${reference}.", "type": "string", "pattern": r"\{"},
    "append": {
        "description": FORMS["{append: […]}"].meaning,
        "type": "object",
        "properties": {"append": {"type": "array"}},
        "required": ["append"],
        "additionalProperties": False,
    },
}


def suite() -> Schema:
    """Return the schema of suite files."""
    defined = {name: _described(key, (name,)) for name, key in KEYS.items()}
    legacy = {name: {"description": message, "deprecated": True} for name, (_, message) in LEGACY.items()}
    rows = {name: _described(key, ("matrix", name)) for name, key in KEYS["matrix"].inside.items()}
    entry = _closed({**{name: {"$ref": f"#/$defs/{name}"} for name in KEYS}, **rows, **legacy})
    names = {name: _described(key, ("job", name)) for name, key in KEYS["job"].inside.items()}
    elsewhere = {name: {"description": "Belongs into a system file.", "not": {}} for name in SYSTEM}
    return {
        "$schema": DRAFT,
        "title": "milabench suite",
        "description": "Names of benchmarks, and of templates (which begin with _), and what they are.",
        "type": "object",
        "properties": {**{name: _described(key, (name,)) for name, key in SUITE.items()}, **elsewhere},
        "patternProperties": {**_OWN, "^_": {"description": FORMS["_name"].meaning, "$ref": "#/$defs/entry"}},
        "additionalProperties": {"$ref": "#/$defs/entry"},
        "$defs": {
            **defined,
            "entry": {**entry, "type": ["object", "null"]},
            "combination": {**entry, "properties": {**names, **entry["properties"]}, "type": ["object", "null"]},
            **_DEFINITIONS,
        },
    }


def system() -> Schema:
    """Return the schema of system files."""
    top = {name: _described(key, (name,)) for name, key in SYSTEM.items()}
    idle = {name: {"description": f"Does nothing: {why}.", "deprecated": True} for name, why in IDLE_KEYS.items()}
    properties = top["system"]["anyOf"][0]["properties"]
    properties |= idle
    properties["options"]["anyOf"][0]["properties"] = _options()
    return {
        "$schema": DRAFT,
        "title": "milabench system",
        "description": "The machines benchmarks run on.",
        **_closed(top),
        "$defs": _DEFINITIONS,
    }


def _options() -> Schema:
    """Return the schemas of what stands under ``options``: a map for each part of an option's dotted name."""
    found: Schema = {}
    for name, option in options.OPTIONS.items():
        if options.place_of(name) != f"system.options.{name}":
            continue
        *parts, last = name.split(".")
        inner = found
        for part in parts:
            inner = inner.setdefault(part, {"type": ["object", "null"], "properties": {}})["properties"]
        inner[last] = _option(name, option)
    return found


def _option(name: str, option: options.Option) -> Schema:
    words = f"{option.meaning} (variable: {options.variable(name)})"
    about: Schema = {"title": options.place_of(name), "description": words}
    if option.idle:
        about |= {"description": f"{words}; no effect: {option.idle}", "deprecated": True}
    if option.default is not None:
        about["default"] = option.default
    key = Key(kind=KIND_OF_OPTION[option.kind], meaning="", example="", least=option.least, most=option.most)
    forms = _FORMS[key.kind](key, ())
    if option.kind == "switch":
        forms += [{"type": "number"}, {"enum": [*options.ON, *options.OFF]}]
    if option.choices or option.off:
        forms.append({"enum": [*option.choices, *([0] if option.off else [])]})
    return {**about, "anyOf": [*forms, _HELD_OPEN, _NULL]}


def _described(key: Key, path: tuple[str, ...]) -> Schema:
    """Return the schema of a key's value, with all that is said about the key."""
    about: Schema = {"title": ".".join(path), "description": key.meaning}
    if key.otherwise:
        about["description"] += f" Default: {key.otherwise}."
    if key.default is not None:
        about["default"] = key.default
    about["examples"] = [example(key, path)]
    forms = _FORMS[key.kind](key, path)
    if key.inside and key.kind not in ("map", "maps", "entry"):
        forms.append(_map(key, path))
    return {**about, "anyOf": [*forms, _HELD_OPEN, _NULL]} if forms else about


def example(key: Key, path: tuple[str, ...]) -> Any:
    """Return the value that a key has in its example, which may leave out the path's first name."""
    node = document.parse(key.example, key.example)
    assert node is not None
    value = document.plain(node)
    for name in path if path[0] in value else path[1:]:
        value = value[0] if isinstance(value, list) else value
        value = value[name]
    return value


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "patternProperties": _OWN, "additionalProperties": False}


def _map(key: Key, path: tuple[str, ...]) -> Schema:
    properties = {name: _described(inner, (*path, name)) for name, inner in key.inside.items()}
    return {"type": "object", "properties": properties} if key.open else _closed(properties)


def _maps(key: Key, path: tuple[str, ...]) -> list[Schema]:
    """Return a list of maps; rows of a matrix may be one alone."""
    row = _map(key, path)
    return [{"type": "array", "items": row}, *([row] if key.open else [])]


def _bounds(key: Key) -> Schema:
    found = {"minimum": key.least, "maximum": key.most}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _amount(units: Mapping[str, float]) -> Schema:
    words = "|".join(sorted(map(re.escape, units), key=len, reverse=True))
    return {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*({words})?\s*$"}


def _list(item: Schema) -> list[Schema]:
    return [{"type": "array", "items": item}, _APPENDED]


def _argv(_: Key, __: tuple[str, ...]) -> list[Schema]:
    value: Schema = {"anyOf": [{"type": ["string", "number", "null"]}, {"const": True}, _list(_SCALAR)[0]]}
    rest: Schema = {
        "description": "What follows the options, as it stands.",
        "type": ["array", "null"],
        "items": _SCALAR,
    }
    return [{"type": "object", "properties": {"--": rest}, "additionalProperties": value}, _list(_SCALAR)[0]]


_FORMS: Mapping[Kind, Callable[[Key, tuple[str, ...]], list[Schema]]] = {
    "any": lambda _, __: [],
    "argv": _argv,
    "choice": lambda key, _: [
        {"enum": list(dict.fromkeys([*key.choices, *(word.replace("_", "-") for word in key.choices)]))}
    ],
    "entry": lambda key, _: [{"$ref": f"#/$defs/{'combination' if key.inside else 'entry'}"}],
    "fraction": lambda _, __: [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": rf"^{_NUMBER}\s*%?$"},
    ],
    "map": lambda key, path: [_map(key, path)],
    "maps": _maps,
    "number": lambda key, _: [{"type": "number", **_bounds(key)}, {"type": "string", "pattern": f"^{_NUMBER}$"}],
    "program": lambda _, __: [{**_list(_SCALAR)[0], "minItems": 1}, _APPENDED],
    "scalar": lambda _, __: [_SCALAR],
    "size": lambda _, __: [{"type": "number", "minimum": 0}, _amount(BYTES)],
    "switch": lambda _, __: [{"type": "boolean"}],
    "text": lambda _, __: [_TEXT],
    "texts": lambda _, __: [_TEXT, *_list(_TEXT)],
    "time": lambda _, __: [{"type": "number", "exclusiveMinimum": 0}, _amount(SECONDS)],
    "variables": lambda _, __: [{"type": "object", "additionalProperties": {"anyOf": [_SCALAR, _NULL]}}],
    "whole": lambda key, _: [{"type": "integer", **_bounds(key)}, {"type": "string", "pattern": "^[0-9]+$"}],
    "words": lambda _, __: [_SCALAR, *_list(_SCALAR)],
}
