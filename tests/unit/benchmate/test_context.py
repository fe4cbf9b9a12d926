"""What a process learns from its environment."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from benchmate.context import Context, ContextError, Limit, current, writer


def config(options: dict[str, Any] | None) -> dict[str, str]:
    entry = {"name": "x"} if options is None else {"name": "x", "voir": {"options": options}}
    return {"MILABENCH_CONFIG": json.dumps(entry)}


def test_without_milabench_everything_has_a_default() -> None:
    assert current({}) == Context(limit=Limit(skip=5, observations=60, seconds=None))


def test_the_leader_has_the_files_it_is_given() -> None:
    context = current(
        {
            "MILABENCH_EVENTS": "/r/a.D0.data",
            "MILABENCH_STEPS": "/r/a.D0.steps",
            "MILABENCH_SEQ": "2",
            "MILABENCH_ARCH": "cuda",
            "MILABENCH_DIR_DATA": "/b/data",
            "OMP_NUM_THREADS": "4",
            "VOIRFILE": "/c/voirfile.py",
            "RANK": "0",
            "WORLD_SIZE": "2",
        }
    )
    assert (context.events, context.steps, context.first_seq) == ("/r/a.D0.data", "/r/a.D0.steps", 2)
    assert (context.arch, context.dirs, context.threads) == ("cuda", {"data": "/b/data"}, 4)
    assert (context.voirfile, context.rank, context.local_rank, context.world_size) == ("/c/voirfile.py", 0, 0, 2)


def test_another_rank_has_files_of_its_own_and_begins_at_zero() -> None:
    environ = {"MILABENCH_EVENTS": "/r/a.data", "MILABENCH_STEPS": "/r/a.steps", "MILABENCH_SEQ": "2"}
    context = current({**environ, "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"})
    assert (context.events, context.steps, context.first_seq) == ("/r/a.rank3.jsonl", "/r/a.rank3.steps", 0)
    assert context.local_rank == 1


@pytest.mark.parametrize(
    ("devices", "local_rank", "device"),
    [([4, 6], 1, 6), ([4], 0, 4), ([0], 1, 0), ([4, 6], 2, None), ([], 0, None), (None, 0, None)],
)
def test_a_rank_knows_its_place(devices: list[int] | None, local_rank: int, device: int | None) -> None:
    context = current(
        {
            "MILABENCH_CONFIG": json.dumps({"name": "x", "devices": devices}),
            "MILABENCH_NODE": "n1",
            "RANK": "3",
            "LOCAL_RANK": str(local_rank),
            "WORLD_SIZE": "4",
        }
    )
    assert context.place == {
        "rank": 3,
        "local_rank": local_rank,
        "world_size": 4,
        "node": "n1",
        "device_id": device,
    }


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (None, Limit(skip=5, observations=60)),
        ({}, Limit(skip=5, observations=60)),
        ({"stop": 20}, Limit(skip=5, observations=20)),
        ({"stop": 20, "skip": 0}, Limit(skip=0, observations=20)),
        ({"stop": None}, Limit(skip=5, observations=None)),
        ({"stop": {"observations": 10}}, Limit(skip=5, observations=10)),
        ({"stop": {"seconds": 1.5}}, Limit(skip=5, observations=None, seconds=1.5)),
        ({"stop": {"observations": 10, "seconds": 30}, "skip": 2}, Limit(skip=2, observations=10, seconds=30)),
    ],
)
def test_the_limit_is_read_in_all_its_forms(options: dict[str, Any] | None, limit: Limit) -> None:
    assert current(config(options)).limit == limit


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RANK": "first"}, "RANK='first' is no whole number"),
        ({"MILABENCH_CONFIG": "{"}, "MILABENCH_CONFIG is no JSON object"),
        (config({"stop": "many"}), "MILABENCH_CONFIG: voir.options.stop of benchmark 'x' is 'many': expected a number"),
        (config({"stop": True}), "voir.options.stop of benchmark 'x' is True"),
        (config({"stop": math.nan}), "voir.options.stop of benchmark 'x' is nan"),
        (config({"skip": -1}), "voir.options.skip of benchmark 'x' is -1"),
        (config({"stop": {"seconds": "30"}}), "voir.options.stop.seconds of benchmark 'x' is '30'"),
        (config({"stop": {"observations": math.inf}}), "voir.options.stop.observations of benchmark 'x' is inf"),
    ],
)
def test_a_value_without_sense_is_told_by_its_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ContextError, match=re.escape(message)):
        current(environ)


def test_the_path_of_a_suite_is_no_entry() -> None:
    assert current({"MILABENCH_CONFIG": "standard.yaml"}).config == {}


def test_a_list_of_threads_means_its_first() -> None:
    assert current({"OMP_NUM_THREADS": "8,2"}).threads == 8


def test_a_process_has_one_writer_so_that_its_sequence_has_no_gap(tmp_path: Path) -> None:
    context = Context(events=str(tmp_path / "a.data"), first_seq=2)
    first, second = writer(context), writer(context)
    assert first is second
    assert first is not None
    first.write("hello", {})
    assert first.seq == 3


def test_a_run_by_hand_has_no_file_of_events() -> None:
    assert writer(Context()) is None


def test_a_limit_of_nothing_or_of_more_than_there_is_has_a_stop() -> None:
    stop = Limit(observations=0, seconds=1e300).stop
    assert (stop.observations, stop.seconds) == (1, 1e9)
