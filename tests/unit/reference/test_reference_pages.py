"""The reference pages say what the tables say, name every key, and hold only examples that load."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest
from keys_examples import MINE, suites, systems

from milabench import placeholders, suite, system
from milabench.expression import holds
from milabench.options import OPTIONS
from milabench.problems import Code
from milabench.reference.pages import filled
from milabench.suite.conditions import NAMES
from milabench.suite.forms import FORMS, TOP
from milabench.suite.language import KEYS
from milabench.system.language import KEYS as SYSTEM
from milabench.system.language import TOP as SYSTEM_TOP

DOCS = Path(__file__).parents[3] / "docs" / "reference"
SUITE_PAGE = (DOCS / "suite.md").read_text()
SYSTEM_PAGE = (DOCS / "system.md").read_text()
FACTS = {"hostname": "here", "cpus": 8, "memory_bytes": 2**34, "arch": "cpu", "devices": [], "environ": {}, "ips": []}


def blocks(page: str) -> list[str]:
    return [dedent(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


def first_cells(page: str) -> list[str]:
    """Return the names in the first column of the page's tables of keys and options, which have five columns."""
    rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line.startswith("| `"))
    return [row[0].strip(" `") for row in rows if len(row) == 5]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks" / "mine").mkdir(parents=True)
    (tmp_path / "base.yaml").write_text(MINE)
    return tmp_path


def resolved(folder: Path, text: str) -> None:
    """Assert that a suite resolves without a warning."""
    (folder / "suite.yaml").write_text(text)
    assert suite.resolve(folder / "suite.yaml").warnings == ()


@pytest.mark.parametrize("name", ["suite.md", "system.md"])
def test_a_page_is_what_is_generated(name: str) -> None:
    page = (DOCS / name).read_text()
    assert filled(page) == page, f"python -m milabench.reference.pages docs/reference/{name}"


@pytest.mark.parametrize("text", suites().values(), ids=suites())
def test_every_example_of_a_suite_loads(folder: Path, text: str) -> None:
    resolved(folder, text)


@pytest.mark.parametrize(("path", "text"), systems().items())
def test_every_example_of_a_system_loads(tmp_path: Path, path: str, text: str) -> None:
    (tmp_path / "system.yaml").write_text(text)
    found = system.resolve(tmp_path / "system.yaml", FACTS)
    assert found.warnings == () or path.startswith(("dirs", "docker.base", "multirun"))


@pytest.mark.parametrize("text", blocks(SUITE_PAGE))
def test_every_suite_on_the_page_loads(folder: Path, text: str) -> None:
    resolved(folder, text)


@pytest.mark.parametrize("text", blocks(SYSTEM_PAGE))
def test_every_system_on_the_page_loads(tmp_path: Path, text: str) -> None:
    (tmp_path / "system.yaml").write_text(text)
    assert system.resolve(tmp_path / "system.yaml", FACTS).arch == "cuda"


def test_the_pages_describe_every_key_once() -> None:
    described = Counter(first_cells(SUITE_PAGE))
    assert {key: described[key] for key in (*KEYS, *TOP, *FORMS)} == dict.fromkeys((*KEYS, *TOP, *FORMS), 1)
    assert {"plan.method", "voir.options.stop.seconds", "matrix.exclude", "definition.commit"} < set(described)
    described = Counter(first_cells(SYSTEM_PAGE))
    of_system = (*SYSTEM, "multirun", "nodes.main", "gpu.capacity", "multirun.runs.matrix")
    assert {key for key in of_system if described[key] < 1} == set()
    assert set(OPTIONS) <= set(described)
    assert set(SYSTEM_TOP) == {"system", "multirun"}


def test_the_page_has_every_code() -> None:
    cells = re.findall(r"^\| ([EW]\d{3}) \|", SUITE_PAGE, re.MULTILINE)
    assert cells == [code.code for code in Code]


def test_the_page_has_every_placeholder_and_function() -> None:
    part = SUITE_PAGE[SUITE_PAGE.index("## Placeholders") : SUITE_PAGE.index("## Measuring")]
    named = re.findall(r"`(\$?\{.+?\})`", part)
    assert {f"{{{name}}}" for name in (*placeholders.NUMBERS, *placeholders.TEXTS)} <= set(named)
    assert {f"{{{name}}}" for name in placeholders.NUMBERS_OF_SYSTEM} <= set(named)
    for token in named:
        placeholders.check(token)
    assert [name for name in placeholders.FUNCTIONS if f"| `{name}(" not in part] == []


def test_the_page_names_what_conditions_are_about() -> None:
    table = SUITE_PAGE[SUITE_PAGE.index("| name | is |") :].split("\n\n")[0]
    names = [name for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for name in re.findall("`(.+?)`", row)]
    known = {**system.values(system.resolve(None, FACTS)), "num_machines": 1}
    assert all(holds(f"{name} == {name}", known) for name in names)
    assert {re.split(r"[\[.]", name)[0] for name in names} == set(NAMES)


def test_the_readme_leads_to_the_pages() -> None:
    readme = (DOCS.parents[1] / "README.md").read_text()
    assert "docs/reference/suite.md" in readme
    assert "docs/reference/system.md" in readme
