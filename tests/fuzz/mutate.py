"""Ways to damage a YAML file: its bytes, its lines, its structure."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from milabench.suite.schema import KEYS
from milabench.system.file import KEYS as SYSTEM_KEYS

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

NUMBERS = (0, -1, 1, 2, 1.5, -0.0, 65536, 2**31, 2**63, -(2**64), 10**4000, 1e308, 1e-320, float("inf"), float("nan"))
WORDS = (
    *("", " ", "a", "yes", "no", "true", "null", "~", "~/x", "~nobody-here/x"),
    *(".", "..", "/", "../../..", "-", "--", "=="),
    *("/dev/zero", "/dev/stdin", "/etc/passwd", "/proc/self/mem", "part.yaml", "suite.yaml", "https://example.org/x"),
    *("per_gpu", "njobs", "per_node", "_parent", "_defaults", "*", "<<", "append", "cuda", "x" * 5000, "9" * 5000),
    *("10m", "1e999s", "80 GiB", "64Go", "50%", "-3%", "%", "1_000", "0x1F", "0o17", "1:30", "2024-01-01", "1e400"),
    *("${", "${}", "${x}", "${.x}", "${..x}", "${.....x}", "${merged}", "${merged.argv}", "${.lr}", "${system.arch}"),
    *("${merged.weight}${merged.weight}", "${a.${b}}", "${merged.tags[0]}", "${merged.argv[0]}", "\\${x}", "\\\\${x}"),
    *("${oc.env:HOME}", "${oc.env:NOT_SET}", "${oc.decode:'{a: 1}'}", "${oc.decode:'[1'}", "${oc.select:x,3}"),
    *("${oc.dict.keys:merged}", "${oc.create:'a: 1'}", "${oc.deprecated:x}"),
    *("${secret:TOKEN}", "${main:port}", "${x:y}"),
    *("{", "}", "{}", "{0}", "{n}", "{lr}", "{lr:>9999999999}", "{lr:d}", "{lr!r}", "{lr.__class__}", "{batch-size}"),
    *("{cpu_count}", "{cpu_cuont}", "{nodes[0].ip}", "{nodes[99999999999].ip}"),
    *("{nodes[0].__class__}", '{"a": 1}', "{{x}}"),
    *("len(nodes) >= 2", "gpu.count > 1", "gpu['", "9**9**9", "1" + "+1" * 400, "(" * 500, "not " * 500, "gpu.x.y"),
    *("__import__('os').system('true')", "().__class__", "lambda: 1", "arch == 'cuda'", "nodes[9]", "[1,2][0] > 0"),
    *("\0", "a\0b", "\x01", "\x1b[31m", "\x85", "\u2028", "é", "e\u0301"),
    *("\u202e", "😀", "\ufeff", "\uffff", "\U0010ffff"),
)  # fmt: skip
NAMES = (
    *KEYS,
    *SYSTEM_KEYS,
    *("include", "exclude", "name", "ip", "port", "main", "count", "capacity"),
    *("method", "n", "share", "options", "stop"),
    *("skip", "interval", "observations", "seconds", "precision", "usage"),
    *("git", "branch", "commit", "argv", "cwd", "<<"),
    *("system", "multirun", "benchmarks", "defaults", "capabilities", "*"),
    *("_x", "x-y", "--", "--a", "append", "matirx"),
    *("", "a b", "a/b", "a.b", "é", "\0", "__class__", "${x}", "{lr}", "0", "true", "null", "x" * 300),
)  # fmt: skip
SNIPPETS = (
    *(b": ", b"- ", b"{", b"}", b"[", b"]", b"&a ", b"*a", b"*parent", b"!!"),
    *(b"!", b"|", b">", b"'", b'"', b"%", b"@"),
    *(b"`", b"#", b"?", b",", b"---\n", b"...\n", b"\t", b"\n", b"\r", b"\r\n"),
    *(b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf"),
    *(b"<<: ", b"${", b"\\", b"  ", b"!!python/object/apply:os.system [true]"),
    *(b"!!binary aGk=", b"!!set {a}", b"\xc3"),
    *(b"\xe2\x80\xa8", b"\xc2\x85", b"\xf0\x9f\x98\x80", b'"\\ud800"', b'"\\x00"'),
    *(b"0x", b"1e9", b".inf", b"\x07", b"\x7f"),
)  # fmt: skip


def mutated(text: bytes, tree: Any, dice: random.Random) -> bytes:
    """Return a file with one to eight kinds of damage; ``tree`` is what the undamaged one means."""
    kind = dice.random()
    if kind < 0.55 and tree is not None:
        tree = copy.deepcopy(tree)
        for _ in range(dice.choice((1, 1, 1, 2, 3, 5, 8))):
            tree = dice.choice(STRUCTURE)(tree, dice)
        text = _written(tree)
        kind = dice.random() + 0.8
    for _ in range(dice.choice((1, 1, 2, 4)) if kind < 1.0 else 0):
        text = dice.choice(BYTES if dice.random() < 0.5 else LINES)(text, dice)
    return text


def _written(tree: Any) -> bytes:
    try:
        return bytes(yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, encoding="utf-8"))
    except RecursionError:
        return b"[" * 5000


# Bytes and lines -------------------------------------------------------------------------------------------------


def _span(length: int, dice: random.Random, most: int) -> tuple[int, int]:
    start = dice.randrange(length + 1)
    return start, min(length, start + dice.randint(1, most))


def _flip(text: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(text)) if text else 0
    return text[:at] + bytes([dice.randrange(256)]) + text[at + 1 :]


def _insert(text: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(text) + 1)
    return text[:at] + dice.choice(SNIPPETS) * dice.choice((1, 1, 1, 2, 200)) + text[at:]


def _cut(text: bytes, dice: random.Random) -> bytes:
    start, end = _span(len(text), dice, 40)
    return text[:start] + text[end:]


def _repeat(text: bytes, dice: random.Random) -> bytes:
    start, end = _span(len(text), dice, 40)
    return text[:end] + text[start:end] * dice.choice((1, 3, 100)) + text[end:]


def _truncate(text: bytes, dice: random.Random) -> bytes:
    return text[: dice.randrange(len(text) + 1)]


def _move_line(text: bytes, dice: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    if lines:
        line = lines.pop(dice.randrange(len(lines)))
        lines.insert(dice.randrange(len(lines) + 1), line)
    return b"".join(lines)


def _double_line(text: bytes, dice: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    if lines:
        lines.insert(dice.randrange(len(lines)), dice.choice(lines))
    return b"".join(lines)


def _drop_line(text: bytes, dice: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join(line for line in lines if dice.random() > 1.5 / max(len(lines), 1))


def _indent(text: bytes, dice: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    start, end = _span(len(lines), dice, 4)
    by = dice.choice((-2, -1, 1, 2, 60))
    moved = [b" " * by + line if by > 0 else line[-by:] for line in lines[start:end]]
    return b"".join([*lines[:start], *moved, *lines[end:]])


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _insert, _insert, _cut, _repeat, _truncate)
LINES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_move_line, _double_line, _drop_line, _indent)

# Structure -------------------------------------------------------------------------------------------------------

Place = tuple[Any, Any]  # a list or dict, and the index or key in it


def _places(tree: Any, depth: int = 0) -> Iterator[Place]:
    parts = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, inside in parts:
        yield tree, key
        if depth < 12:
            yield from _places(inside, depth + 1)


def _any_place(tree: Any, dice: random.Random) -> Place | None:
    found = list(itertools.islice(_places(tree), 20_000))  # aliases make more of little
    return dice.choice(found) if found else None


def any_value(dice: random.Random, depth: int = 0) -> Any:
    """Return a value of any kind."""
    kind = dice.random()
    if kind < 0.5:
        return dice.choice(WORDS)
    if kind < 0.75:
        return dice.choice(NUMBERS)
    if kind < 0.85 or depth > 2:
        return dice.choice((None, True, False))
    if kind < 0.92:
        return [any_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(NAMES): any_value(dice, depth + 1) for _ in range(dice.randrange(4))}


def _retype(tree: Any, dice: random.Random) -> Any:
    place = _any_place(tree, dice)
    if place:
        place[0][place[1]] = any_value(dice)
    return tree


def _delete(tree: Any, dice: random.Random) -> Any:
    place = _any_place(tree, dice)
    if place:
        del place[0][place[1]]
    return tree


def _swap(tree: Any, dice: random.Random) -> Any:
    one, two = _any_place(tree, dice), _any_place(tree, dice)
    if one and two:
        first, second = copy.deepcopy(one[0][one[1]]), copy.deepcopy(two[0][two[1]])
        one[0][one[1]] = second
        if two[1] in two[0] if isinstance(two[0], dict) else two[1] < len(two[0]):
            two[0][two[1]] = first
    return tree


def _share(tree: Any, dice: random.Random) -> Any:
    """Put a value, the very same, at another place: an alias, maybe of what it stands in."""
    one, two = _any_place(tree, dice), _any_place(tree, dice)
    if one and two:
        two[0][two[1]] = one[0][one[1]]
    return tree


def _rename(tree: Any, dice: random.Random) -> Any:
    place = _any_place(tree, dice)
    if not place or not isinstance(place[0], dict):
        return tree
    inside, key = place
    word = str(key)
    at = dice.randrange(len(word) + 1)
    new = dice.choice((word[:at] + word[at + 1 :], word[:at] + "x" + word[at:], word[::-1], dice.choice(NAMES)))
    entries = [(new if each == key else each, value) for each, value in inside.items()]
    inside.clear()
    inside.update(entries)
    return tree


def _add(tree: Any, dice: random.Random) -> Any:
    place = _any_place(tree, dice)
    inside = place[0] if place else tree
    if isinstance(inside, dict):
        inside[dice.choice(NAMES)] = any_value(dice)
    elif isinstance(inside, list):
        inside.insert(dice.randrange(len(inside) + 1), any_value(dice))
    return tree


def _bury(tree: Any, dice: random.Random) -> Any:
    place = _any_place(tree, dice)
    if place:
        value = place[0][place[1]]
        for _ in range(dice.choice((1, 2, 10, 58, 80))):
            value = [value] if dice.random() < 0.5 else {dice.choice(NAMES): value}
        place[0][place[1]] = value
    return tree


def _widen(tree: Any, dice: random.Random) -> Any:
    """Make something long: a list of a thousand values, a text of a hundred thousand letters."""
    place = _any_place(tree, dice)
    if place:
        value = place[0][place[1]]
        long = {dice.choice(NAMES) + str(number): value for number in range(100)}
        place[0][place[1]] = dice.choice(([value] * 200, str(value)[:2000] * 50, long, list(range(2000))))
    return tree


STRUCTURE: tuple[Callable[[Any, random.Random], Any], ...] = (
    *(_retype, _retype, _retype, _delete, _swap, _share, _rename, _rename, _add, _add, _bury, _widen),
)
