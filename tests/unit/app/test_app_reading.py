"""``check`` and ``plan``: what they judge, and for which machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milabench.agent import probe
from milabench.app.options import Options
from milabench.app.reading import check, explain, plans, resolved
from milabench.app.workspace import addresses
from milabench.errors import ConfigurationError, UsageError

SUITE = "one: {command: {argv: [x]}, plan: {method: per_gpu}}\ntwo: {command: {argv: [x]}, plan: {method: njobs}}\n"
GPUS = [{"id": number, "name": "GPU", "uuid": f"GPU-{number}", "memory_bytes": 2**36} for number in range(2)]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the facts that probing finds, as it is asked for them; a test may change them."""
    found: dict[str, Any] = {"arch": "cpu", "devices": []}

    def facts(arch: str | None, _: list[str]) -> dict[str, Any]:
        known = {"hostname": "here", "cpus": 4, "memory_bytes": 2**34, "environ": {"PATH": "/bin"}, "indexes": []}
        return {**known, **({"arch": arch, "devices": []} if arch == "cpu" else found)}

    monkeypatch.setattr(probe, "facts", facts)
    return found


def options(folder: Path, *, system: str | None = None, **fields: Any) -> Options:
    (folder / "suite.yaml").write_text(SUITE)
    if system is not None:
        (folder / "system.yaml").write_text(system)
        fields["system"] = folder / "system.yaml"
    return Options(config=str(folder / "suite.yaml"), base=folder / "base", **fields)


def tags(given: Options) -> list[str]:
    ((_, made),) = plans(given, "run")
    return [command.tag for trial in made.trials for job in trial.jobs for command in job.commands]


def test_what_the_options_leave_open_is_that_of_this_machine(tmp_path: Path, machine: dict[str, Any]) -> None:
    machine.update(arch="cuda", devices=GPUS)
    assert tags(options(tmp_path)) == ["one.D0", "one.D1", "two"]
    assert tags(options(tmp_path, shape={"cpus": 64})) == ["one.D0", "one.D1", "two"]
    assert tags(options(tmp_path, shape={"gpus": 3})) == ["one.D0", "one.D1", "one.D2", "two"]
    assert tags(options(tmp_path, shape={"arch": "cpu"})) == ["one.D0", "two"]


@pytest.mark.parametrize("shape", [{"gpus": 8}, {"gpu_memory": 2**36}])
def test_accelerators_without_an_architecture_are_refused_on_a_cpu(tmp_path: Path, shape: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="give --arch"):
        plans(options(tmp_path, shape=shape), "run")


@pytest.mark.parametrize(("select", "count"), [((), 2), (("one",), 1)])
def test_check_counts_what_is_selected(tmp_path: Path, select: tuple[str, ...], count: int) -> None:
    found, errors, _ = check(options(tmp_path, select=select))
    assert found is not None
    assert (len(found.benchmarks), errors) == (count, [])


def test_check_judges_the_selection(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--select: nothing in the suite has the name, tag or group 'nosuch'"):
        check(options(tmp_path, select=("nosuch",)))


MISPLACED = """\
_p:
  command: {argv: [x]}
  env:
    HF_TOKEN: abc
one: {inherits: _p}
two: {inherits: _p, env: {HF_TOKEN: null, T: '${secret:NOPE}'}}
three: {command: {argv: [x], env: {B: '${oc.env:A_TOKEN}'}}}
four: {command: {argv: [x], env: {HF_TOKEN: '${secret:HF_TOKEN}', A_TOKEN: '${oc.env:A_TOKEN}'}}}
"""


def test_check_finds_secrets_that_no_plan_takes_where_they_are_written(tmp_path: Path) -> None:
    given = options(tmp_path, environ={"A_TOKEN": "0123456789"})
    (tmp_path / "suite.yaml").write_text(MISPLACED)
    errors = check(given)[1]
    assert [(each.code, each.path, each.mark.line, each.mark.column) for each in errors if each.mark] == [
        ("E411", "one.env.HF_TOKEN", 4, 15),
        ("E411", "two.env.T", 6, 46),
        ("E411", "three.env.B", 7, 39),
    ]
    (tmp_path / "suite.yaml").write_text(MISPLACED + "five: {command: {argv: [x]}, weight: heavy}\n")
    assert [each.code for each in check(given)[1]] == ["E411", "E411", "E411", "E301"]
    (tmp_path / "suite.yaml").write_text(MISPLACED)
    assert not any("0123456789" in str(each) for each in errors)
    with pytest.raises(ConfigurationError) as caught:
        plans(given, "run")
    assert caught.value.problems[0].mark == errors[0].mark


def test_a_system_file_is_checked_alone(tmp_path: Path) -> None:
    (tmp_path / "system.yaml").write_text("system: {options: {sizer.atuo: 1}}\n")
    found, errors, _ = check(Options(config=None, base=tmp_path, system=tmp_path / "system.yaml"))
    assert (found, [error.suggestion for error in errors]) == (None, ["sizer.auto"])
    with pytest.raises(UsageError, match="no suite: give --config"):
        check(Options(config=None, base=tmp_path))


def test_what_is_said_of_the_system_besides_a_file_is_checked_too(tmp_path: Path) -> None:
    given = options(tmp_path, override=("system.gpu.count=x", "one.weight"), environ={"MILABENCH_CPU_MAX": "many"})
    assert [error.code for error in check(given)[1]] == ["E107", "E301", "E301"]


def test_variables_and_overrides_describe_the_system_that_is_planned_for(tmp_path: Path) -> None:
    assert tags(options(tmp_path, environ={"MILABENCH_ARCH": "cuda", "MILABENCH_GPU_COUNT": "2"})) == [
        "one.D0",
        "one.D1",
        "two",
    ]
    assert tags(options(tmp_path, override=("system.arch=cuda", "system.gpu.count=1"))) == ["one.D0", "two"]


def test_a_system_file_looks_into_the_operators_environment(tmp_path: Path) -> None:
    system = "system: {nodes: [{name: a, ip: '${oc.env:ADDRESS}', main: true}]}\n"
    given = options(tmp_path, system=system, environ={"ADDRESS": "10.0.0.1"})
    assert check(given)[1] == []
    assert tags(given) == ["one.D0", "two"]


def test_a_doubled_key_of_a_system_file_counts_with_legacy(tmp_path: Path) -> None:
    system = "system: {arch: cpu, gpu: {count: 1}, arch: cuda}\n"
    assert [error.code for error in check(options(tmp_path, system=system))[1]] == ["E104"]
    lenient = options(tmp_path, system=system, lenient=True)
    assert [warning.code for warning in check(lenient)[2]] == ["W112"]
    assert tags(lenient) == ["one.D0", "two"]
    assert [each.value for each in explain(lenient, "system.arch")] == ["cuda"]


def test_the_machine_knows_its_own_addresses() -> None:
    assert "127.0.0.1" in addresses()


def test_a_resolved_suite_is_whole_or_what_is_named_or_selected(tmp_path: Path) -> None:
    whole = options(tmp_path)
    (tmp_path / "suite.yaml").write_text(SUITE + "off: {command: {argv: [x]}, enabled: false}\n")
    assert list(resolved(whole, ())) == ["one", "two", "off"]
    assert list(resolved(whole, ("off", "one", "off"))) == ["off", "one"]
    chosen = Options(config=whole.config, base=whole.base, select=("t*",))
    assert list(resolved(chosen, ())) == ["two"]
    with pytest.raises(UsageError, match="'offf' is no benchmark of .*: did you mean 'off'"):
        resolved(whole, ("offf",))
    with pytest.raises(UsageError, match="'one' is no benchmark of .*: `milabench list` shows them"):
        resolved(chosen, ("one",))


def test_a_resolved_suite_holds_secrets_by_name_only(tmp_path: Path) -> None:
    given = options(tmp_path, environ={"HF_TOKEN": "hf_0123456789", "PLACE": "here"})
    (tmp_path / "suite.yaml").write_text(
        "one:\n  command:\n    argv: [x, '--key=${oc.env:HF_TOKEN}', '${oc.env:PLACE}']\n"
        "    env: {HF_TOKEN: '${oc.env:HF_TOKEN}'}\n  env: {API_KEY: abc, PLAIN: abc}\n"
    )
    one = resolved(given, ())["one"]
    assert one["command"]["argv"] == ["x", "--key=${secret:HF_TOKEN}", "here"]
    assert one["command"]["env"] == {"HF_TOKEN": "${secret:HF_TOKEN}"}
    assert one["env"] == {"API_KEY": "${secret:API_KEY}", "PLAIN": "abc"}
    assert "hf_" not in repr(one)


NEEDS_TEXT = 'one: {command: {argv: [x]}, weight: "${oc.env:MY_SECRET}", x-a: "${oc.env:MY_SECRET}!"}\n'


@pytest.mark.parametrize("value", ["plain-value", 'with"quotes', "back\\slash", "umlaut-äöü-ä"])
def test_no_reading_verb_tells_the_value_of_a_secret(tmp_path: Path, value: str) -> None:
    asked = options(tmp_path, environ={"MY_SECRET": value})
    (tmp_path / "suite.yaml").write_text(NEEDS_TEXT)
    _, errors, _ = check(asked)
    assert errors[0].code == "E301"
    assert "${secret:MY_SECRET}" in errors[0].message
    assert not any(text in errors[0].message for text in (value, repr(value)[1:-1]))
    (tmp_path / "suite.yaml").write_text(NEEDS_TEXT.replace("weight", "url"))
    said = {".".join(each.path): each for each in explain(asked, "one")}
    assert (said["one.url"].value, said["one.x-a"].value) == ("${secret:MY_SECRET}", "${secret:MY_SECRET}!")
    assert [source.value for source in said["one.url"].places[0].inserted] == ["${secret:MY_SECRET}"]
    assert resolved(asked, ())["one"]["url"] == "${secret:MY_SECRET}"


def test_the_values_of_a_system_are_told_without_secrets(tmp_path: Path) -> None:
    text = 'system: {arch: cuda, docker_image: "a\\"${oc.env:MY_SECRET}"}\n'
    asked = options(tmp_path, system=text, environ={"MY_SECRET": 'sec"ret\\value'})
    assert [each.value for each in explain(asked, "system.docker_image")] == ['a"${secret:MY_SECRET}']
