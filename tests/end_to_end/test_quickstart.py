"""Torch benchmarks in small, those milabench brings and those that its templates write, run for real."""

from __future__ import annotations

import math
import shutil

import pytest

from harness import Project
from milabench.app.new import TEMPLATES
from milabench.resources import data_root
from overview import CORRECTED, OVERVIEW, SIZES

NAMES = ("flops", "resnet18", "resnet18-nothing-loaded")
TRAINED = NAMES[1:]
SHORT = ("--override", "*.voir.options.stop=5", "--override", "*.voir.options.skip=1")
# Sizes that a pair of CPU cores does in seconds.
SMALL = """
    include: {base}

    _short:
      max_duration: 5m
      voir: {{options: {{stop: 5, skip: 2}}}}

    flops:
      inherits: [_flops, _short]
      argv: {{--m: 256, --n: 256, --k: 256, --dtype: fp32}}

    resnet18:
      inherits: [_torchvision, _short]
      argv: {{--model: resnet18, --image-size: 32, --num-images: 64, --batch-size: 4, --num-workers: 1, --lr: 0.001}}

    resnet18-nothing-loaded:
      inherits: [_torchvision, _short]
      argv:
        --model: resnet18
        --image-size: 32
        --batch-size: 4
        --precision: bf16
        --synthetic-data: true
        --fixed-batch: true
"""


@pytest.fixture(scope="module")
def torch_project(index: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which the torch benchmarks were installed, prepared and run, in small."""
    del index
    project = Project(tmp_path_factory.mktemp("torch"))
    project.write("suite.yaml", SMALL.format(base=data_root() / "config/base.yaml"))
    done = project.verb("run", "--all", timeout_s=800)
    assert done.code == 0, done.err
    return project


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_each_is_stopped_when_enough_is_measured(torch_project: Project, name: str) -> None:
    found = torch_project.report()[name]
    assert (found["outcomes"], found["steps"]) == ({"early_stop": 1}, {"warmup": 2, "measured": 5})
    assert found["perf"] > 0
    assert found["peak_memory_bytes"] > 50e6


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TRAINED)
def test_each_training_has_finite_losses_that_move(torch_project: Project, name: str) -> None:
    losses = torch_project.data(f"{name}.D0", "loss")
    assert len(losses) >= 7
    assert all(math.isfinite(loss) for loss in losses)
    assert len(set(losses)) > 1


@pytest.mark.timeout(900)
def test_a_batch_that_stays_the_same_is_learned(torch_project: Project) -> None:
    losses = torch_project.data("resnet18-nothing-loaded.D0", "loss")
    assert losses[-1] < losses[0]


@pytest.mark.timeout(900)
def test_what_was_installed_is_written_down(torch_project: Project) -> None:
    names = {item.split("==")[0] for item in torch_project.run().facts()["environments"]["torch"]}
    assert {"torch", "numpy", "pillow", "benchmate"} <= {name.lower() for name in names}


@pytest.mark.timeout(900)
def test_what_is_installed_and_prepared_takes_no_second_time(torch_project: Project) -> None:
    done = torch_project.verb("install")
    assert (done.code, "ok torch (there already" in done.err) == (0, True)


def overview(project: Project, text: str) -> str:
    """Write the suite of the overview beside the suites and benchmarks milabench brings; return its name."""
    project.write("config/overview.yaml", text)
    shutil.copy(data_root() / "config/base.yaml", project.folder / "config/base.yaml")
    (project.folder / "benchmarks").symlink_to(data_root() / "benchmarks")
    return "config/overview.yaml"


def test_the_one_mistake_of_the_overviews_suite_is_found_where_it_is(project: Project) -> None:
    name = overview(project, OVERVIEW)
    found = project.milabench("check", "--config", name, "--json")
    (error,) = found.json["errors"]
    line = (project.folder / name).read_text().split("inherits: _resnet50")[0].count("\n") + 1
    assert (found.code, error["line"], error["suggestion"]) == (2, line, "resnet50")
    assert found.json["warnings"] == []


def test_the_overviews_suite_is_planned_as_it_says(project: Project) -> None:
    name = overview(project, CORRECTED)
    shape = ("--arch", "cuda", "--gpus", "2", "--cpus", "16")
    plan = project.milabench("plan", "--config", name, *shape, "--json").json
    assert [trial["benchmark"] for trial in plan["trials"]] == [
        "resnet50",
        *(f"resnet50-noio-bs{size}" for size in SIZES),
    ]
    for size, trial in zip(SIZES, plan["trials"][1:], strict=True):
        commands = trial["jobs"][0]["commands"]
        assert [command["tag"] for command in commands] == [f"resnet50-noio-bs{size}.D{device}" for device in (0, 1)]
        wanted = "--precision tf32-fp16 --lr 0.01 --no-stdout --epochs 50 --num-workers 8 --model resnet50"
        assert " ".join(commands[0]["argv"][2:]) == f"{wanted} --batch-size {size} --synthetic-data --fixed-batch"
        assert trial["jobs"][0]["deadline_s"] == 600.0
        assert trial["jobs"][0]["limit"]["observations"] == 60


@pytest.mark.timeout(900)
def test_a_cell_of_the_overviews_matrix_runs(project: Project, torch_project: Project) -> None:
    name = overview(project, CORRECTED)
    changes = ("voir.options.stop=3", "voir.options.skip=1", "argv.--image-size=32", "argv.--num-workers=1")
    overrides = [word for change in changes for word in ("--override", f"resnet50.{change}")]
    one = ("--config", name, "--select", "resnet50-noio-bs32", *overrides)
    cell = str(project.folder / "cell")
    assert project.milabench("run", "--all", "--base", str(torch_project.base), *one, "--run-name", cell).code == 0
    found = project.report(cell)["resnet50-noio-bs32"]
    assert (found["outcomes"], found["steps"]) == ({"early_stop": 1}, {"warmup": 1, "measured": 3})


@pytest.mark.timeout(900)
@pytest.mark.parametrize("template", TEMPLATES)
def test_what_a_template_writes_runs_at_once(project: Project, torch_project: Project, template: str) -> None:
    assert project.milabench("new", "mine", "--template", template).code == 0
    base = ("--base", str(torch_project.base))  # whose torch environment is there already
    done = project.milabench("run", "--all", "--config", "config/mine.yaml", *SHORT, *base, "--run-name", "./run")
    assert done.code == 0, done.err
    found = project.report(str(project.folder / "run"))["mine"]
    assert (found["outcomes"], found["steps"]["measured"]) == ({"early_stop": 1}, 5)
    assert found["perf"] > 0
