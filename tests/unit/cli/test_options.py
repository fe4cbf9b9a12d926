"""Options: command line over environment over default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from milabench.app.options import Options
from milabench.cli import VERBS
from milabench.cli.shared import read_options
from milabench.errors import ExitCode, UsageError
from milabench.slurm.records import Submissions, Submitted

README = Path(__file__).parents[3] / "README.md"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "SYSTEM", "BASE", "SELECT", "EXCLUDE", "RUN_NAME", "ARCH"):
        monkeypatch.delenv(f"MILABENCH_{name}", raising=False)


@pytest.mark.parametrize(
    ("field", "variable", "value", "option"),
    [
        ("config", "CONFIG", "standard", {"config": "quickstart"}),
        ("run_name", "RUN_NAME", "mine", {"run_name": "yours"}),
        ("select", "SELECT", "vision", {"select": ("flops",)}),
        ("exclude", "EXCLUDE", "vision", {"exclude": ("flops",)}),
    ],
)
def test_the_command_line_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, field: str, variable: str, value: str, option: dict[str, Any]
) -> None:
    monkeypatch.setenv(f"MILABENCH_{variable}", value)
    from_environment = getattr(read_options({}), field)
    assert from_environment == ((value,) if field in ("select", "exclude") else value)
    assert getattr(read_options(option), field) == option[field]


def test_the_base_is_absolute_wherever_it_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_options({}).base == tmp_path / "workdir" / "results"
    monkeypatch.setenv("MILABENCH_BASE", "elsewhere")
    assert read_options({}).base == tmp_path / "elsewhere"
    assert read_options({"base": "/here"}).base == Path("/here")
    assert read_options({"base": "~nobody-there/x"}).base == tmp_path / "~nobody-there" / "x"


@pytest.mark.parametrize("name", ["nowhere.yaml", "/nowhere/none.yaml", "~nobody-there/x.yaml", "x" * 300])
def test_a_system_file_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(UsageError, match="no system file .*: give --system with a file"):
        read_options({"system": name})


def test_the_configuration_of_a_process_is_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILABENCH_CONFIG", '{"name": "resnet50"}')
    assert read_options({}).config is None


def test_the_command_to_type_repeats_the_options() -> None:
    options = Options(config="standard", base=Path("/b"), select=("a and b",), environ={})
    assert options.command("install") == "milabench install --config standard --base /b --select 'a and b'"


@pytest.mark.parametrize(("profile", "words"), [(None, "submit --"), ("my two", "submit --profile 'my two' --")])
def test_another_run_is_submitted_where_this_one_was(tmp_path: Path, profile: str | None, words: str) -> None:
    options = Options(config="standard", base=tmp_path, run_name=str(tmp_path / "it"), environ={})
    shared = f"--config standard --base {tmp_path}"
    assert options.command("run") == f"milabench run {shared} --run-name {tmp_path}/it"
    (tmp_path / "it").mkdir()
    job = Submitted(job="7", profile=profile, asked=(), submitted=1.0)
    Submissions(run=tmp_path / "it", jobs=(job,)).write()
    assert options.command("run") == f"milabench {words} {shared}"
    assert options.command("install") == f"milabench install {shared}"


def test_the_command_to_type_has_every_option_that_is_no_default() -> None:
    options = Options(
        config="my suite.yaml",
        system=Path("s.yaml"),
        base=Path("/b"),
        select=("it's",),
        exclude=("a", "b"),
        override=("x.argv.--lr=0.1",),
        installer="pip",
        offline=True,
        run_name="mine",
        repeats=3,
        shape={"arch": "cpu"},
        environ={"MILABENCH_BASE": "/b"},
    )
    shared = """--config 'my suite.yaml' --system s.yaml --select 'it'"'"'s' --exclude a --exclude b"""
    shared += " --override x.argv.--lr=0.1 --arch cpu --installer pip --offline"
    assert options.command("install") == f"milabench install {shared}"
    assert options.command("run") == f"milabench run {shared} --run-name mine --repeat 3"


def test_a_bundle_is_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_options({"bundle": "b.tar"})
    assert (found.bundle, found.offline) == (Path.cwd() / "b.tar", True)
    monkeypatch.setenv("MILABENCH_BUNDLE", "/c.tar")
    assert read_options({"bundle": None}).bundle == Path("/c.tar")
    assert read_options({}).bundle is None  # a verb that has nothing to do with one


@pytest.mark.parametrize("name", ["mine", "mine.2", "/a/b", "./a", "../a/b", "~/a", ".hidden"])
def test_a_run_has_a_name_or_a_path(name: str) -> None:
    assert read_options({"run_name": name}).run_name == name


@pytest.mark.parametrize("name", ["team/x", "x/", ".", "..", "~", "/", "./", "../", "~/", "a\nb"])
def test_a_name_under_which_no_run_is_found_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(UsageError, match="--run-name"):
        read_options({"run_name": name})
    monkeypatch.setenv("MILABENCH_RUN_NAME", name)
    with pytest.raises(UsageError, match="--run-name"):
        read_options({"run_name": None})
    assert read_options({}).run_name == name  # a verb that makes no run


def test_every_exit_code_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)}
    assert documented | {ExitCode.UNDECIDED} == {int(code) for code in ExitCode}


def test_the_readme_names_every_verb() -> None:
    text = README.read_text()
    assert [verb for verb in VERBS if f"milabench {verb}" not in text] == []
