"""Which scaling file is read, and what a run adds to one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmate.wire import encode_event
from milabench import resources
from milabench.app.sizing import known, save, wanted
from milabench.errors import ConfigurationError, UsageError
from milabench.group import Group
from milabench.outcome import Outcome
from milabench.plan import Command, Job, Plan, Size, Trial
from milabench.plan.scaling import Observation, read
from milabench.rundir import Files
from milabench.system import Operator, System, resolve

FACTS: dict[str, Any] = {
    "hostname": "here",
    "arch": "cuda",
    "cpus": 4,
    "environ": {},
    "devices": [{"id": 0, "name": "NVIDIA H100", "memory_bytes": 2**36}],
}
TEXT = "bert: {model: {8: 1 MiB, 16: 2 MiB}}\n"


def system(**options: str) -> System:
    changes = [f"system.options.sizer.{name}={value}" for name, value in options.items()]
    return resolve(None, FACTS, {}, Operator(changes=changes))


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the scaling files that milabench brings; the test runs in another one."""
    folder = tmp_path / "root" / "config" / "scaling"
    folder.mkdir(parents=True)
    monkeypatch.setattr(resources, "data_root", lambda: tmp_path / "root")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_the_devices_own_file_is_read_where_none_is_named(brought: Path) -> None:
    assert wanted(system(auto="1")) is None
    (brought / "NVIDIA H100.yaml").write_text(TEXT)
    found = wanted(system(auto="1"))
    assert found is not None
    assert found.file == str(brought / "NVIDIA H100.yaml")


@pytest.mark.parametrize("options", [{}, {"auto": "1", "batch_size": "8"}, {"auto": "1", "mult": "2"}, {"auto": "no"}])
def test_no_file_is_read_that_is_not_needed(brought: Path, options: dict[str, str]) -> None:
    (brought / "NVIDIA H100.yaml").write_text("broken: {")
    assert wanted(system(**options)) is None


@pytest.mark.parametrize("options", [{}, {"auto": "1", "batch_size": "8"}])
def test_what_is_known_of_memory_is_known_whether_or_not_it_is_sized_by(brought: Path, options: dict[str, str]) -> None:
    assert known(system(**options)) is None
    (brought / "NVIDIA H100.yaml").write_text(TEXT)
    found = known(system(**options))
    assert found is not None
    assert [each.batch_size for each in found.entries["bert"].observations] == [8, 16]


@pytest.mark.parametrize("options", [{}, {"config": "nowhere"}])
def test_a_file_that_cannot_be_read_makes_nothing_known(brought: Path, options: dict[str, str]) -> None:
    (brought / "NVIDIA H100.yaml").write_text("broken: {")
    assert known(system(**options)) is None


@pytest.mark.parametrize("name", ["mine", "mine.yaml"])
def test_a_file_is_named_by_its_path_or_as_one_that_milabench_brings(brought: Path, name: str) -> None:
    (brought / "mine.yaml").write_text(TEXT)
    found = wanted(system(auto="1", config=name))
    assert found is not None
    assert found.file == str(brought / "mine.yaml")
    Path("mine.yaml").write_text(TEXT)
    found = wanted(system(auto="1", config="mine.yaml"))
    assert found is not None
    assert found.file == "mine.yaml"


def test_a_file_that_is_not_there_is_told(brought: Path) -> None:
    with pytest.raises(UsageError, match=r"sizer.config: there is no scaling file mine.yaml: give the path of one"):
        wanted(system(auto="1", config="mine.yaml"))
    assert wanted(system(auto="1", config="mine.yaml", save="mine.yaml")) is None


@pytest.mark.parametrize("name", ["~nobody-there/mine.yaml", "x" * 300])
def test_a_path_that_no_file_can_have_is_told(brought: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"sizer.config: there is no scaling file"):
        wanted(system(auto="1", config=name))
    with pytest.raises(UsageError, match=r"sizer.save: there is no folder"):
        wanted(system(save=f"{name}/mine.yaml"))


def test_what_cannot_be_saved_is_told_before_a_run(brought: Path) -> None:
    with pytest.raises(UsageError, match=r"sizer.save: there is no folder nowhere"):
        wanted(system(save="nowhere/mine.yaml"))
    Path("mine.yaml").write_text("bert: 3\n")
    with pytest.raises(ConfigurationError, match="bert needs a map"):
        wanted(system(save="mine.yaml"))


# Saving ----------------------------------------------------------------------------------------------------------


def run(folder: Path, *, failed: Sequence[str] = (), host: Sequence[str] = ()) -> tuple[Plan, Any]:
    """Return a run of two benchmarks, each on two devices."""
    trials, tags = [], {}
    for number, name in enumerate(("bert", "gpt"), 1):
        commands = tuple(
            Command(tag=f"{name}.D{device}", benchmark=name, node="local", argv=("x",), cwd="/", devices=(device,))
            for device in range(2)
        )
        job = Job(tag=name, commands=commands, deadline_s=None)
        trials.append(Trial(benchmark=name, jobs=(job,)))
        for device, command in enumerate(commands):
            tags[command.tag] = name
            used = {"gpudata": {str(device): {"memory": [1000 * number + device, 8000], "load": 1}}}
            events = [
                ("config", {"name": name, "weight": 1, "enabled": True, "tag": command.tag.split(".")}),
                ("start", {"command": ["x"], "time": 1.0}),
                *[("data", {"task": "train", "rate": 10.0 * number, "units": "items/s"})] * 12,
                *([] if name in host else [("data", used)]),
                ("end", {"time": 9.0, "outcome": "failed" if name in failed else "ok", "reason": ""}),
            ]
            lines = [encode_event(event, data, time_ns=seq, seq=seq) for seq, (event, data) in enumerate(events)]
            (folder / f"{command.tag}.data").write_bytes(b"".join(lines))
    sizes = (
        Size(benchmark="bert", batch_size=48, default=32, workers=4, reason="…"),
        Size(benchmark="gpt", batch_size=2, default=2),
    )
    plan = Plan(phase="run", trials=tuple(trials), sizes=sizes)
    record = SimpleNamespace(
        path=folder,
        plan=lambda: plan,
        facts=lambda: {"system": {"arch": "cuda"}},
        outcomes=lambda: {
            name: Outcome(kind="failed" if name in failed else "ok", reason="") for name in ("bert", "gpt")
        },
        tags=lambda: tuple(tags),
        files=lambda tag: SimpleNamespace(events=folder / f"{tag}.data"),
        steps=lambda tag: (),
        neighbours=dict,
        failed_before=dict,
        damage=lambda tag: "",
        group=lambda tag: Group(of_rank=Files.of(folder, tag).of_rank),
        monitor_paths=dict,
    )
    return plan, record


def test_a_run_adds_what_it_shows_of_its_batch_sizes(tmp_path: Path) -> None:
    plan, record = run(tmp_path)
    target = tmp_path / "mine.yaml"
    target.write_text("bert: {model: {8: 500 MiB}, optimized: 8}\n")
    assert save(plan, record, target) == 2
    found = read(target).entries
    bert, gpt = found["bert"].observations[-1], found["gpt"].observations[-1]
    assert found["bert"].observations[0] == Observation(batch_size=8, memory_bytes=500 * 2**20)
    assert (bert.batch_size, bert.memory_bytes, bert.perf, bert.cpu) == (48, 1001 * 2**20, 10.0, 4)
    assert (gpt.batch_size, gpt.memory_bytes, gpt.perf, gpt.cpu) == (2, 2001 * 2**20, 20.0, 0)
    assert bert.time > 1_600_000_000
    assert "- {batch_size: 48, cpu: 4, memory: 1001 MiB, perf: 10.0, time: " in target.read_text()
    assert save(plan, record, target) == 2
    assert len(read(target).entries["bert"].observations) == 3
    assert [path.name for path in tmp_path.glob("*.partial")] == []


def test_what_failed_or_used_no_device_shows_nothing(tmp_path: Path) -> None:
    plan, record = run(tmp_path, failed=["bert"], host=["gpt"])
    assert save(plan, record, tmp_path / "mine.yaml") == 0
    assert not (tmp_path / "mine.yaml").exists()


def test_a_file_that_was_damaged_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    plan, record = run(tmp_path)
    target = tmp_path / "mine.yaml"
    target.write_text("bert: 3\n")
    with pytest.raises(ConfigurationError, match="bert needs a map"):
        save(plan, record, target)
    assert target.read_text() == "bert: 3\n"


def test_the_examples_of_the_documentation_are_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "config" / "scaling" / "README.md").read_text()
    examples = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "example.yaml").write_text(example)
        found = read(tmp_path / "example.yaml").entries["bert"].observations
        assert [each.batch_size for each in found] == [8, 64]
