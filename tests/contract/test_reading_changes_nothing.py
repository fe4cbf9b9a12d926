"""Nothing that a YAML file holds runs code, reads other files than includes, or changes a disk: seen by an audit hook.

Every verb that only reads is given hostile suites in a fresh interpreter; the hook notes what it opens and does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from harness import Project

CONFIG = ("--config", "suite.yaml")
READING = (
    *(("check", *CONFIG), ("list", *CONFIG), ("list", "--json", *CONFIG), ("explain", *CONFIG, "program")),
    *(("resolve", *CONFIG), ("resolve", "--json", *CONFIG), ("schema",)),
)

# Runs the command line under an audit hook; what was seen is the last line of standard error.
WATCHED = """
import json, os, sys

seen = []
IDLE = ("object.__", "sys._getframe", "sys.excepthook", "code.__new__", "builtins.id", "marshal.", "gc.")
LOADING = ("import", "exec", "compile")  # of Python's own modules
LISTING = ("os.listdir", "os.scandir", "pathlib.Path.glob", "glob.glob")

def watch(event, args):
    if event == "open":
        path, flags = args[0], args[2] or 0
        writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        seen.append(["write" if writing else "open", path if isinstance(path, str) else repr(path)])
    elif event in LISTING:
        seen.append(["list", str(args[0])])
    elif not event.startswith((*IDLE, *LOADING)):
        seen.append([event, repr(args)[:200]])

sys.addaudithook(watch)
from milabench.cli import main
try:
    main()
finally:
    kept, seen = seen, []
    sys.stderr.write("\\n" + json.dumps(kept) + "\\n")
"""

# A suite that is well: whatever it holds is data.
WELL = """
include: [part.yaml, sub/other.yaml]
program:
  command: {argv: [sh, -c, "touch ran; $(touch ran) `touch ran`", '{"a": 1}', '${oc.decode:"word"}']}
  env:
    HOME_OF_USER: '${oc.env:HOME,none}'
    CODE: "__import__('os').system('touch ran')"
    OTHER: '${oc.select:program.group,none}'
  url: ['file:///etc/passwd', 'http://example.invalid/x', '/dev/zero', '~']
  requires_capabilities: ["gpu['count'] >= 0", "len(nodes) > 0 or arch == '__import__'"]
  x-notes: {class: '{program.__class__.__mro__}', conversion: '{program!r}', tilde: ~/x, path: ../../../etc/shadow}
  dirs: {data: made/by/reading}
cells:
  matrix: {n: [1, 2], word: ['__class__']}
  job:
    name: cell-{n}
    definition: bench
    plan: {method: per_gpu}
    argv: {--n: '{n:>4}', --word: '{word}', --class: '{n!r}{0.__class__}x'}
"""

# Suites that are not, and what must be told of each: the code of each line, and words of it.
PROGRAM = "x: {command: {argv: [a]}, "
WRONG = {
    "a tag that runs a program": (
        "x: !!python/object/apply:os.system ['touch ran']\n",
        [("E102", "the tag tag:yaml.org,2002:python/object/apply:os.system is not understood")],
    ),
    "a tag of a module": (
        "x: {env: {A: !!python/module:os }}\n",
        [("E102", "the tag tag:yaml.org,2002:python/module:os is not understood")],
    ),
    "a tag of a file": ("x: {env: !include part.yaml}\n", [("E102", "the tag !include is not understood")]),
    "a new object": (
        "x: !!python/object/new:subprocess.Popen [[touch, ran]]\n",
        [("E102", "the tag tag:yaml.org,2002:python/object/new:subprocess.Popen is not understood")],
    ),
    "a resolver of nobody": (
        PROGRAM + "env: {A: '${python:1}', B: '${oc.env:${oc.decode:1}}'}}\n",
        [("E205", "${python:1}: "), ("E205", "${oc.env:${oc.decode:1}}: ")],
    ),
    "code as a condition": (
        PROGRAM + """requires_capabilities: ["__import__('os').system('touch ran')"]}\n""",
        [("E305", "there is no function '__import__'")],
    ),
    "attributes in a condition": (
        PROGRAM + 'requires_capabilities: ["().x"]}\n',
        [("E305", "x.requires_capabilities[0] cannot be read: ')' is not expected here")],
    ),
    "attributes in a name": (
        "x: {matrix: {n: 1}, job: {name: 'a{n.__class__}', command: {argv: [a]}}}\n",
        [("E207", "{n.__class__} names no key of the matrix")],
    ),
    "a conversion in a name": (
        "x: {matrix: {n: 1}, job: {name: 'a{n!r}', command: {argv: [a]}}}\n",
        [("E207", "{n!r} names no key of the matrix")],
    ),
    "attributes of a placeholder": (
        "x: {command: {argv: ['{arch.__class__}', '{nodes[0].__class__}']}}\n",
        [("E410", "unknown placeholder {arch.__class__}"), ("E410", "unknown placeholder {nodes[0].__class__}")],
    ),
    "git": (
        "x: {definition: {git: 'ext::sh -c touch% ran', branch: main}, plan: {method: per_gpu}}\n",
        [("E213", "git would take it for something else than a URL")],
    ),
    "what never ends": (
        "include: [pipe.yaml, /dev/zero, /dev/stdin, /dev/tty, loop.yaml]\n",
        [("E105", "there is no file")] * 5,
    ),
    "what is no file": (
        "include: [bench, '~', '~nobody-there/x', ' ', '/', /dev/null]\n",
        [("E105", "there is no file")] * 6,
    ),
    "what is large": ("include: large.yaml\n", [("E101", "it is larger than 64 MiB")]),
    "the folder of a folder": (
        "x: {definition: ../../../../../../dev/zero, plan: {method: per_gpu}}\n",
        [("E212", "there is no folder /dev/zero")],
    ),
}
LINE = re.compile(r"^error (E\d{3}): (.*)$", re.MULTILINE)


def _lay_out(project: Project) -> None:
    """Lay out what suites may name: folders that would betray that they were run, and files that never end."""
    project.write("part.yaml", "part: {command: {argv: [a]}}\n")
    project.write("sub/other.yaml", "include: ../part.yaml\nother: {command: {argv: [a], cwd: .}}\n")
    for name in ("bench/benchfile.py", "bench/main.py", "bench/voirfile.py"):
        project.write(name, "open('ran', 'w')\n")
    os.mkfifo(project.folder / "pipe.yaml")
    (project.folder / "loop.yaml").symlink_to("loop.yaml")
    with (project.folder / "large.yaml").open("wb") as file:
        file.truncate(1 << 30)


def watched(project: Project, *arguments: str) -> tuple[int, str, list[list[str]]]:
    """Return exit code, standard error and what the hook noted of a command."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED, *arguments],
        capture_output=True,
        cwd=project.folder,
        env={**project.environ, "MILABENCH_BASE": str(project.folder / "base")},
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    error, _, seen = done.stderr.decode().rstrip("\n").rpartition("\n")
    return done.returncode, error, json.loads(seen)


def effects(seen: list[list[str]], project: Project, *read: str) -> list[list[str]]:
    """Return what was done beside loading Python's own modules and reading the files that are named."""
    mine = {os.path.realpath(project.folder / name) for name in read}
    folders = (sys.prefix, sys.base_prefix, *sys.path, *project.environ["PYTHONPATH"].split(os.pathsep))
    code = tuple(os.path.realpath(path) for path in folders if path)

    def is_idle(event: str, path: str) -> bool:
        real = os.path.realpath(project.folder / path)
        return (event == "open" and real in mine) or (event in ("open", "list") and real.startswith(code))

    return [[event, what] for event, what in seen if not is_idle(event, what)]


def tree(project: Project) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in project.folder.rglob("*")}


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_suite_that_is_well_is_data(project: Project, arguments: tuple[str, ...]) -> None:
    _lay_out(project)
    project.write("suite.yaml", WELL)
    before = tree(project)
    code, error, seen = watched(project, *arguments)
    assert code == 0, error
    assert effects(seen, project, "suite.yaml", "part.yaml", "sub/other.yaml") == []
    assert any(what.endswith("part.yaml") for _, what in seen) is (arguments != ("schema",))
    assert tree(project) == before


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_a_suite_that_is_not_is_told(project: Project, text: str, told: list[tuple[str, str]]) -> None:
    _lay_out(project)
    project.write("suite.yaml", text)
    before = tree(project)
    code, error, seen = watched(project, "check", "--config", "suite.yaml")
    assert code == 2, error
    lines = LINE.findall(error)
    assert [code for code, _ in lines] == [code for code, _ in told], error
    assert all(words in line for (_, words), (_, line) in zip(told, lines, strict=True)), error
    assert "Traceback" not in error
    assert effects(seen, project, "suite.yaml", "part.yaml", "large.yaml") == []
    assert tree(project) == before
