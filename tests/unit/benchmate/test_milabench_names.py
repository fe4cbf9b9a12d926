"""Names that scripts and voirfiles written for milabench import."""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from loops import events, rows

from benchmate import datagen, dataloader, monitor, observer, reported, timings, toggles
from benchmate.context import Context, Limit
from benchmate.data import grouped
from benchmate.dataset import ExclusiveSetSampler, ImageNetAsFrames, TransformedDataset, transform_images
from benchmate.device import Cpu
from benchmate.metrics import file_push, give_push, is_running_with_voir, sumggle_push
from benchmate.reported import Reported
from benchmate.stopping import StopProgram
from benchmate.timeline import timeline
from benchmate.ux import long_action
from benchmate.wire import EventWriter
from harness import wait_until


class Calls:
    """An object whose methods say that they were called."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def backward(self, gradient: object = None) -> str:
        self.said.append(f"backward {gradient}")
        return "done"

    def step(self) -> None:
        self.said.append("step")

    def __float__(self) -> float:
        return 1.5


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process of a run whose suite wants three observations after one of warm-up."""
    context = Context(
        events=str(tmp_path / "a.data"),
        steps=str(tmp_path / "a.steps"),
        config={"voir": {"options": {}}},
        limit=Limit(skip=1, observations=3),
    )
    monkeypatch.setattr(observer, "current", lambda **_: context)
    monkeypatch.setattr("benchmate.observe.of_process", lambda _: (Cpu(), ""))
    return tmp_path


def test_a_bench_observer_measures_what_the_suite_wants(process: Path) -> None:
    made = observer.BenchObserver(
        object, earlystop=100, batch_size_fn=lambda batch: batch * 2, raise_stop_program=False, stdout=True, rank=0
    )
    with pytest.raises(SystemExit) as stopped:
        for batch in made.iterate([1, 2, 3, 4, 5, 6]):
            made.record_loss(0.5 / batch)
    assert stopped.value.code == 0
    assert [row[2] for row in rows(process)] == [2, 4, 6, 8]
    assert [data["loss"] for event, data in events(process) if event == "data" and "loss" in data][:2] == [0.5, 0.25]


@pytest.mark.usefixtures("process")
def test_callbacks_follow_the_backward_pass_and_the_step() -> None:
    said: list[str] = []
    made = observer.BenchObserver(
        backward_callback=lambda: said.append("after backward"), step_callback=lambda: said.append("after step")
    )
    calls = Calls(said)
    assert made.criterion(lambda value: value)(calls).backward(2) == "done"
    made.optimizer(calls).step()
    made.close()
    assert said == ["backward 2", "after backward", "step", "after step"]


def test_a_script_says_which_batches_make_a_step(process: Path) -> None:
    made = observer.BenchObserver(batch_size_fn=len)
    loader = made.loader([[0] * 2] * 100, custom_step=True)
    with pytest.raises(SystemExit):
        for number, _ in enumerate(loader):
            if number % 3 == 2:
                assert made.step() is False
    assert [row[2] for row in rows(process)] == [6, 6, 6, 6]
    assert (len(loader), made.original_dataloader() is loader) == (100, True)


def test_a_step_of_a_loader_may_say_what_was_done_in_it(process: Path) -> None:
    loader = observer.BenchObserver().iterate([[0] * 2] * 100, custom_step=True)
    with pytest.raises(SystemExit):
        for number, _ in enumerate(loader):
            loader.step(10 + number)
    assert [row[2] for row in rows(process)] == [10, 11, 12, 13]


@pytest.mark.usefixtures("process")
def test_a_step_without_a_loader_is_refused() -> None:
    made = observer.BenchObserver()
    with pytest.raises(RuntimeError, match="wrap that with loader"):
        made.step()
    made.close()


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process of a run that reports metrics itself: three rates are wanted after one of warm-up."""
    context = Context(config={"voir": {"options": {"interval": 0.5}}}, limit=Limit(skip=1, observations=3))
    made = Reported(context, EventWriter(tmp_path / "a.data"))
    monkeypatch.setattr(reported, "here", lambda: made)
    for module in (monitor, toggles):
        monkeypatch.setattr(module, "current", lambda: context)
    return tmp_path


def said(folder: Path) -> list[dict[str, Any]]:
    return [data for event, data in events(folder) if event == "data"]


def test_a_push_reports_by_name(metrics: Path) -> None:
    give_push()(rate=2.0, units="Tok/s", task="train")
    sumggle_push()(memory_peak=3.0)
    assert said(metrics) == [{"rate": 2.0, "units": "Tok/s", "task": "warmup"}, {"memory_peak": 3.0}]


def test_a_push_gives_to_voir_where_the_script_runs_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    overseer = types.SimpleNamespace(give=lambda **data: given.append(data))
    helpers = types.SimpleNamespace(current_overseer=types.SimpleNamespace(get=lambda: overseer))
    monkeypatch.setitem(sys.modules, "voir.helpers", helpers)  # type: ignore[arg-type]
    give_push()(rate=2.0)
    assert (given, is_running_with_voir()) == ([{"rate": 2.0, reported.METRIC: True}], True)


def test_a_push_to_a_file_prints_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    file_push()(rate=2.0)
    assert json.loads(capsys.readouterr().out) == {"task": "train", "rate": 2.0}


def test_further_metrics_of_an_observer_are_reported(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[dict[str, Any]] = []
    monkeypatch.setattr(observer, "give_push", lambda: lambda **data: pushed.append(data))
    made = observer.BenchObserver()
    made.record_metric(ttfts=0.5, units="s")
    made.close()
    assert pushed == [{"ttfts": 0.5, "units": "s"}]


def test_an_override_of_a_result_needs_voir(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ptera", types.SimpleNamespace(refstring=None))  # type: ignore[arg-type]
    nobody = types.SimpleNamespace(current_overseer=types.SimpleNamespace(get=lambda: None))
    monkeypatch.setitem(sys.modules, "voir", types.ModuleType("voir"))
    monkeypatch.setitem(sys.modules, "voir.helpers", nobody)  # type: ignore[arg-type]
    made = observer.BenchObserver()
    with pytest.raises(RuntimeError, match="needs voir"):
        made.override_return_value(print, lambda value: value)
    made.close()


def test_monitors_start_nothing_and_say_so_once(metrics: Path) -> None:
    with monitor.bench_monitor(poll_interval=3) as log:
        assert log is not None
        log({"task": "train", "rate": 5.0})
    with monitor.multigpu_monitor():
        pass
    push, watching = monitor.setupvoir(interval=0.1)
    watching.start()
    push({"task": "main", "gpudata": {"0": {"load": 0.5}}})
    watching.stop()
    notes = [data["message"].split(" starts no monitor")[0] for event, data in events(metrics) if event == "note"]
    assert notes == ["bench_monitor", "setupvoir"]
    assert said(metrics)[1] == {"task": "main", "gpudata": {"0": {"load": 0.5}}}


def test_ranks_other_than_the_leader_get_nothing_to_report_with(metrics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "current", lambda: Context(rank=1, world_size=2))
    with monitor.bench_monitor() as log:
        assert log is None


def test_by_hand_a_voirfile_s_own_number_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Reported(Context(), None)
    monkeypatch.setattr(reported, "here", lambda: made)
    monitor.voirfile_monitor(None, types.SimpleNamespace(stop=2, skip=1, dash=False, gpu_poll=1))
    with pytest.raises(StopProgram):
        for number in range(10):
            made.push({"rate": 1.0 + number})
    assert number == 2


def test_a_suite_s_number_counts_before_that_of_the_voirfile(metrics: Path) -> None:
    monitor.voirfile_monitor(None, types.SimpleNamespace(stop=1, skip=0, dash=False, gpu_poll=1))
    with pytest.raises(StopProgram):
        for _ in range(10):
            reported.here().push({"rate": 1.0})
    assert len(said(metrics)) == 4


def test_numbers_of_observations_hold_warm_up(metrics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (toggles.get_observation_count(40), toggles.get_poll_interval(3)) == (4, 0.5)
    monkeypatch.setattr(toggles, "current", Context)
    assert (toggles.get_observation_count(40), toggles.get_poll_interval(3)) == (40, 3)


def test_a_step_timer_reports_what_was_done_over_the_time_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pushed, synced = [10.0], [], []
    monkeypatch.setattr(timings, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    timer = timings.StepTimer(lambda **data: pushed.append(data), sync=lambda: synced.append(1))
    for size in (3, 5):
        timer.step(size)
    now[0] = 12.0
    timer.end()
    timer.step(6)
    now[0] = 13.0
    timer.end()
    timer.log(loss=0.5)
    rate = {"units": "items/s", "task": "train"}
    assert pushed == [{"rate": 4.0, **rate}, {"rate": 6.0, **rate}, {"loss": 0.5}]
    assert (len(synced), timer.n_obs) == (2, 2)


def test_requests_become_a_series_of_rates() -> None:
    requests = [
        {"start_time": 100.0, "latency": 4.0, "prompt_len": 10, "output_tokens": 30},
        {"start_time": 102.0, "latency": 1.0, "prompt_len": 1, "output_tokens": 9},
    ]
    series = timeline(requests, 2)
    assert [span["rate"] for span in series] == [10.0, 15.0]
    assert [span["time"] for span in series] == [102.0, 104.0]
    assert [span["active_jobs"] for span in series] == [1, 2]
    assert [(span["start_job"], span["finished_job"]) for span in series] == [(1, 0), (1, 2)]
    assert [span["active_jobs_pct"] for span in series] == [1.0, 1.5]
    assert sum(span["rate"] * 2 for span in series) == 50


def test_no_requests_are_no_series() -> None:
    assert timeline([], 30) == []


def test_samples_of_a_data_set_are_transformed_as_they_are_fetched() -> None:
    made = TransformedDataset([(1, "a"), (2, "b")], transform_images(lambda x: x * 10))
    assert ([made[0], made[1]], len(made)) == ([(10, "a"), (20, "b")], 2)


def test_folders_of_images_are_clips(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "a/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    clips = ImageNetAsFrames(tmp_path)
    assert (len(clips), clips["b"], sorted(clips)) == (2, ["1.jpg", "2.jpg"], ["a", "b"])


@pytest.mark.parametrize(("drop_last", "size"), [(True, 3), (False, 4)])
def test_parts_of_a_data_set_have_nothing_in_common(drop_last: bool, size: int) -> None:
    parts = [list(ExclusiveSetSampler(range(10), 3, part, drop_last=drop_last)) for part in range(3)]
    assert [len(part) for part in parts] == [size] * 3
    assert len({sample for part in parts for sample in part}) == (9 if drop_last else 10)


def test_an_epoch_shuffles_anew_and_none_does_not() -> None:
    shuffled = ExclusiveSetSampler(range(100), 1, 0)
    first = list(shuffled)
    shuffled.set_epoch(1)
    assert first != list(shuffled)
    assert list(ExclusiveSetSampler(range(6), 2, 1, shuffle=False)) == [1, 3, 5]


def test_a_long_action_says_that_it_still_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with long_action("downloading", interval=0.001):
        wait_until(lambda: "downloading 0 s\n" in capsys.readouterr().err)


def test_arguments_of_loaders_are_those_of_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataloader, "current", lambda: Context(dirs={"data": "/data"}))
    parser = argparse.ArgumentParser()
    dataloader.dataloader_arguments(parser)
    args = parser.parse_args(["--batch-size", "4"])
    assert vars(args) == {"batch_size": 4, "loader": "pytorch", "num_workers": 8, "data": "/data"}


def test_a_loader_that_is_not_there_ends_the_program_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match="--loader dali: there is no such loader here, but pytorch, pytorch_fake"):
        dataloader.imagenet_dataloader(argparse.Namespace(loader="dali"), None)


def test_images_are_looked_for_in_the_folder_of_made_up_ones_first(tmp_path: Path) -> None:
    args = argparse.Namespace(data=str(tmp_path))
    assert dataloader.data_folder(args) == str(tmp_path)
    (tmp_path / "FakeImageNet").mkdir()
    assert dataloader.data_folder(args) == str(tmp_path / "FakeImageNet")


def test_how_many_images_are_made_is_told_by_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(datagen, "generate_sets", lambda *given: made.append(given))
    monkeypatch.setattr(Path, "write_text", lambda *_: 0)
    words = "--batch-size 8 --batch-count 5 --device-count 2 --val 0.25 --image-size 3 16 24 --output /data --other 1"
    datagen.generate_fakeimagenet(datagen.fakeimagenet_args(words.split()))
    assert made == [(Path("/data/FakeImageNet"), {"train": 80, "val": 20, "test": 8}, [3, 16, 24])]


def test_batches_are_grouped_into_whole_observations() -> None:
    assert list(grouped(range(7), 3)) == [[0, 1, 2], [3, 4, 5]]


def observed_by(rank: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    monkeypatch.setenv("MILABENCH_EVENTS", str(folder / "r.data"))
    monkeypatch.setenv("MILABENCH_ARCH", "cpu")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    made = observer.BenchObserver(rank=rank, batch_size_fn=lambda batch: 1, earlystop=3)
    try:
        return list(made.iterate(range(9)))
    finally:
        made.close()


@pytest.mark.parametrize("joined", [False, True])
def test_a_rank_whose_group_is_unknown_does_not_end_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    torch = types.SimpleNamespace(is_available=lambda: True, is_initialized=lambda: joined, get_world_size=lambda: 4)
    monkeypatch.setitem(sys.modules, "torch.distributed", torch)
    assert observed_by(1, tmp_path, monkeypatch) == observed_by(0, tmp_path, monkeypatch) == list(range(9))
    lines = [json.loads(line) for line in (tmp_path / "r.data").read_text().splitlines()]
    (stop,) = [line["data"] for line in lines if line["event"] == "stop"]
    assert stop == {"reason": "observations", "world_size": 4 if joined else None}
    assert '"stop"' not in (tmp_path / "r.rank1.jsonl").read_text()


def test_a_group_of_one_that_torch_has_made_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = types.SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, get_world_size=lambda: 1)
    monkeypatch.setitem(sys.modules, "torch.distributed", torch)
    with pytest.raises(StopProgram):
        observed_by(0, tmp_path, monkeypatch)
