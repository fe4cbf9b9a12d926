"""The grammar of a suite's tokens: ``{placeholders}`` and the functions ``auto``, ``auto_batch`` and ``expr``.

A placeholder is one bare word, or a value of the system: ``{cpu_per_gpu}``, ``{nodes[0].ip}``, ``{options.cpu.max}``;
``${system.arch}`` is another spelling of the latter. JSON such as ``{"image": 10}`` is none. A token that begins with a
function, or does so after its first ``=``, is computed: ``auto({n_worker}, 8)``, ``train.batch=auto_batch(32)``,
``expr({gpu_count} * 2)``. Whoever plans says what words and functions mean; what cannot be whatever they mean is found
by ``check``.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from milabench import expression
from milabench.options import OPTIONS
from milabench.problems import Code, nearest
from milabench.tokens import ExpressionError, Functions

NUMBERS: Mapping[str, str] = {
    "cpu_count": "cores of the node, less those that cpu.reserved_cores keeps",
    "cpu_per_gpu": "cores for each of the node's devices",
    "gpu_count": "devices of the node; a node without accelerators counts as one",
    "n_worker": "cpu_per_gpu, but from cpu.min to cpu.max; or cpu.n_workers",
}
TEXTS: Mapping[str, str] = {
    "arch": "architecture of the system",
    "benchmark_folder": "the benchmark's folder on the node",
    "ccl": "name of the library for collectives that torch knows: nccl, ccl, hccl or gloo",
    "device_name": "what torch calls a device: cuda for rocm too",
    "milabench_base": "the base",
    "milabench_cache": "folder of caches",
    "milabench_code": "the benchmark's folder on the node",
    "milabench_data": "folder of data",
    "milabench_extra": "folder of the benchmark's group",
    "milabench_name": "name of the benchmark",
    "milabench_runs": "folder of runs",
    "milabench_venv": "the benchmark's environment",
}
OF_SYSTEM = ("docker_image", "gpu.arch", "sshkey")
NUMBERS_OF_SYSTEM = ("cpu.count", "cpu.memory", "gpu.capacity", "gpu.count")
OF_NODE = ("interface", "ip", "main", "name", "port", "user")
FUNCTIONS: Mapping[str, str] = {
    "auto": "auto({n_worker}, 8)",
    "auto_batch": "auto_batch(32)",
    "expr": "expr({gpu_count} * 2)",
}

_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:\[\d+\])?(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
_WORD = re.compile(rf"(?<!\$)\{{({_NAME})\}}|\$\{{system\.({_NAME})\}}")
SYSTEM_REFERENCE = re.compile(r"\$\{system\.([^{}]*)\}")
_AFTER = re.compile(rf"(?<![$\\])\{{({_NAME})(?![\w.\[:])")
_BEFORE = re.compile(rf"(?<![\w.{{$])({_NAME})$")
_NODE = re.compile(r"nodes\[\d+\]\.(\w+)")
_CALL = re.compile(r"((?:auto|expr)\w*)\s*\(")  # milabench takes whatever begins so for a function
_LONGEST = 60  # letters of a placeholder
_SAMPLES = 12  # systems to try a token on: what can be computed on none of them is wrong on every one


class PlaceholderError(ValueError):
    """A token that stands for nothing; ``code`` says whether a word is not known or a function cannot be computed."""

    def __init__(self, message: str, code: Code = Code.PLACEHOLDER, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.suggestion = suggestion


def is_plain(token: str) -> bool:
    """Return whether a token certainly stands for itself."""
    return "{" not in token and "(" not in token


def resolve(token: str, word: Callable[[str], Any], functions: Functions) -> str:
    """Return a token with its placeholders replaced and its function computed.

    ``word`` returns what a placeholder stands for and raises LookupError for one that stands for nothing; ``functions``
    are ``function_table``'s. Raises PlaceholderError.
    """
    if "{" in token:
        token = _WORD.sub(lambda found: _shown(found, word), token)
    if "(" not in token:
        return token
    if _CALL.match(token):
        return _computed(token, functions)
    name, sign, right = token.partition("=")
    return f"{name}={_computed(right, functions)}" if sign and _CALL.match(right) else token


def check(token: str) -> None:
    """Raise PlaceholderError for a token that stands for nothing on any system."""
    failure: PlaceholderError | None = None
    functions = function_table(lambda given, _: given, lambda default: default)
    for system in range(_SAMPLES):
        try:
            resolve(token, lambda word, system=system: _sample(word, system), functions)  # type: ignore[misc]
        except PlaceholderError as error:
            failure = failure or error
        else:
            return
    if failure:
        raise failure


def half(token: str) -> tuple[str, str] | None:
    """Return a placeholder that lacks one of its braces, and as it is with both; None where there is none.

    A brace that belongs to another one is never taken for a half: JSON and code stay what they are.
    """
    opened: list[int] = []
    for brace in re.finditer("[{}]", token):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            opened.pop()
        else:
            before = _BEFORE.search(token, max(brace.start() - _LONGEST, 0), brace.start())
            if before and _is_known(before[1]):
                return f"{before[1]}}}", f"{{{before[1]}}}"
    for start in opened:
        after = _AFTER.match(token, start)
        if after and _is_known(after[1]):
            return after[0], f"{after[0]}}}"
    return None


def function_table(auto: Callable[[Any, Any], Any], auto_batch: Callable[[int], int]) -> Functions:
    """Return the functions of tokens: ``auto`` chooses between two values, ``auto_batch`` a batch size by a default."""

    def expr(*values: Any) -> Any:
        _count("expr", values, 1)
        return values[0]

    def choice(*values: Any) -> Any:
        _count("auto", values, 2)
        return auto(*values)

    def size(*values: Any) -> Any:
        _count("auto_batch", values, 1)
        default = values[0]
        if not isinstance(default, int) or isinstance(default, bool):
            raise ExpressionError(f"auto_batch needs a whole number, not {default!r}", "", 0)
        return auto_batch(default)

    return {"auto": choice, "auto_batch": size, "expr": expr}


def _count(name: str, values: tuple[Any, ...], wanted: int) -> None:
    if len(values) != wanted:
        many = "one value" if wanted == 1 else "an expression and a default"
        raise ExpressionError(f"{name} needs {many}, as in {FUNCTIONS[name]}", "", 0)


def _shown(found: re.Match[str], word: Callable[[str], Any]) -> str:
    name = found[1] or found[2]
    try:
        value = word(name)
    except LookupError:
        _unknown(found[0], name)
    if value is None:
        raise PlaceholderError(f"{found[0]} has no value on this system")
    return str(value)


def _unknown(written: str, name: str) -> NoReturn:
    if _is_known(name):
        raise PlaceholderError(f"{written} is nothing that this system has")
    near = nearest(name, _known_words(name))
    raise PlaceholderError(f"unknown placeholder {written}", suggestion=near)


def _computed(text: str, functions: Functions) -> str:
    called = _CALL.match(text)
    assert called is not None
    if called[1] not in functions:
        known = ", ".join(FUNCTIONS)
        message = f"there is no function {called[1]!r}: there are {known}"
        raise PlaceholderError(message, Code.FUNCTION, nearest(called[1], FUNCTIONS))
    try:
        return str(expression.evaluate(text, functions=functions))
    except ExpressionError as error:
        bare = next((word for word in re.findall(r"\w+", text) if word in NUMBERS), None)
        hint = f"{{{bare}}}" if bare else None
        raise PlaceholderError(f"{text}: {error.message}", Code.FUNCTION, hint) from None
    except ValueError:
        raise PlaceholderError(f"{text}: the result is too large", Code.FUNCTION) from None


# Words -----------------------------------------------------------------------------------------------------------


def _known_words(name: str) -> Iterator[str]:
    """Yield all that a word may be; of nodes the one that it names."""
    yield from (*NUMBERS, *TEXTS, *OF_SYSTEM, *NUMBERS_OF_SYSTEM)
    yield from (f"options.{option}" for option in OPTIONS)
    node = re.match(r"nodes\[\d+\]", name)
    yield from (f"{node[0] if node else 'nodes[0]'}.{key}" for key in OF_NODE)


def _is_known(name: str) -> bool:
    try:
        _sample(name, 0)
    except LookupError:
        return False
    return True


def _sample(name: str, system: int) -> int | str | bool:
    """Return a value of the kind that a word has: of a number another one for each word, on each sample system.

    Raises LookupError for a word that stands for nothing.
    """
    option, node = OPTIONS.get(name.removeprefix("options.")), _NODE.fullmatch(name)
    number = 1 + zlib.crc32(f"{name} {system}".encode()) % _SAMPLES
    if name in NUMBERS or name in NUMBERS_OF_SYSTEM:
        return number
    if name in TEXTS or name in OF_SYSTEM:
        return "text"
    if name.startswith("options.") and option:
        numeric = option.kind in ("integer", "number", "size", "duration")
        return number if numeric else True if option.kind == "switch" else "text"
    if node and node[1] in OF_NODE:
        return number if node[1] == "port" else "text"
    raise LookupError(name)
