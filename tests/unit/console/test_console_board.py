"""The live view: what a frame shows, in terminals of any size."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console as RichConsole

from milabench.console.board import Board, Overview, table
from milabench.console.usage import Meter
from milabench.console.words import Usage
from milabench.errors import HostLost
from milabench.follow import Progress
from milabench.outcome import Outcome
from milabench.plan.types import Command
from milabench.suite.types import Limit

GIB = 1 << 30
NOW = 1_700_000_000.0


def running(tag: str = "resnet50.D0", **fields: object) -> Progress:
    known = Progress(
        tag=tag,
        stage="measuring",
        steps=120,
        measured=118,
        measured_s=10.0,
        limit=Limit(skip=2, observations=598),
        rate_now=71.31,
        rate=70.0,
        unit="images/s",
        loss=2.3145,
        started=NOW - 130.4,
        last_step=NOW,
    )
    return replace(known, **fields)  # type: ignore[arg-type]


def overview(*processes: Progress, **fields: object) -> Overview:
    known = Overview(
        title="running",
        total=17,
        ended=3,
        failed=1,
        now=NOW,
        elapsed_s=724.0,
        left_s=2700.0,
        processes=processes,
        deadlines={each.tag: 600.0 for each in processes},
    )
    return replace(known, **fields)  # type: ignore[arg-type]


def frame(shown: Overview, width: int = 160, height: int = 40, **options: object) -> list[str]:
    stream = io.StringIO()
    given = {"force_terminal": True, "color_system": None, **options}
    terminal = RichConsole(file=stream, width=width, height=height, legacy_windows=False, **given)  # type: ignore[arg-type]
    board = Board()
    board.overview = shown
    terminal.print(board, end="")
    return stream.getvalue().splitlines()


def test_a_frame_shows_the_run_and_a_row_for_each_process() -> None:
    usage = {"resnet50.D0": Usage(rss_bytes=3 * GIB, cores=0.98, load=0.87, device_bytes=61 * GIB)}
    lines = frame(overview(running(), running("bert.D1", loss=None), usage=usage))
    assert lines[0] == "running  3 of 17 done, 1 failed  12 min 04 s, at most 45 min 00 s left"
    assert lines[1].split() == ["process", "steps", "rate", "loss", "host", "CPU", "device", "time"]
    row, bar = lines[2].split("━", 1)
    cells = [cell.strip() for cell in row.split("  ") if cell.strip()]
    assert cells == [
        *("resnet50.D0", "120/600", "71.31 images/s", "2.314", "3.0 GiB", "98 %", "87 % 61.0 GiB"),
        "2 min 10 s of 10 min 00 s",
    ]
    assert len(bar) == 23
    assert lines[3].split()[:4] == ["bert.D1", "120/600", "71.31", "images/s"]


def test_what_nothing_tells_has_no_column() -> None:
    lines = frame(overview(running(loss=None)))
    assert lines[1].split() == ["process", "steps", "rate", "time"]


@pytest.mark.parametrize(
    ("progress", "steps"),
    [
        (running(stage="waiting", steps=0, measured=0, rate_now=None), "waiting"),
        (running(stage="warm-up", steps=1, measured=0), "1/600 warm-up"),
        (running(limit=Limit(skip=2, observations=None, seconds=20.0)), "120"),
        (running(limit=None, steps=0, rate_now=None), "running"),
        (running(stage="stopping", steps=600), "600/600 stopping"),
        (running(stage="ended", outcome=Outcome(kind="early_stop")), "early stop"),
    ],
)
def test_a_row_says_the_stage_where_it_is_not_measuring(progress: Progress, steps: str) -> None:
    assert steps in frame(overview(progress))[2]


def test_a_process_that_makes_no_step_for_long_is_told_so() -> None:
    silent = running(last_step=NOW - 125.4)
    assert "no step for 2 min 05 s" in frame(overview(silent))[2]
    slow = running(last_step=NOW - 125.4, measured=2, measured_s=200.0)
    assert "images/s" in frame(overview(slow))[2]


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [5, 10, 24])
def test_a_frame_is_never_larger_than_its_terminal(width: int, height: int) -> None:
    processes = [running(f"a-long-name-of-a-benchmark-in-full.D{n}", unit="图像/s") for n in range(256)]
    lines = frame(overview(*processes), width=width, height=height)
    assert len(lines) < height
    assert max(map(cell_len, lines)) <= width


def test_of_many_processes_those_that_fit_are_shown_and_the_others_counted() -> None:
    processes = [running(f"p{n}", stage="warm-up" if n >= 254 else "measuring") for n in range(256)]
    lines = frame(overview(*processes), height=24)
    assert [line.split()[0] for line in lines[2:-1]] == [f"p{n}" for n in range(19)]
    assert lines[-1] == "… and 237 more: 235 measuring, 2 warm-up"


def test_a_frame_costs_by_the_rows_that_can_be_seen() -> None:
    lines = frame(overview(*(running(f"p{n}") for n in range(256))), height=1000)
    assert len(lines) == 42


def test_colours_are_left_out_where_nobody_wants_them() -> None:
    coloured = "".join(frame(overview(running()), color_system="standard", no_color=False))
    plain = "".join(frame(overview(running()), color_system="standard", no_color=True))
    assert "\x1b[32m" in coloured
    assert "\x1b[32m" not in plain


def test_names_that_come_from_benchmarks_move_no_cursor() -> None:
    lines = frame(overview(running("a\x1b[2Jb", unit="x\x1b[H/s")))
    assert "a?[2Jb" in lines[2]
    assert "x?[H/s" in lines[2]


def test_nothing_is_shown_before_there_is_something() -> None:
    assert frame(overview()) == ["running  3 of 17 done, 1 failed  12 min 04 s, at most 45 min 00 s left"]


def test_a_table_as_text_has_no_bars() -> None:
    lines = table(overview(*(running(f"p{n}") for n in range(100))), 160)
    assert len(lines) == 41
    assert lines[-1] == "… and 61 more: 61 measuring"
    assert not any("━" in line for line in lines)


def command(tag: str, *devices: int) -> Command:
    return Command(tag=tag, benchmark="b", node="n", argv=("x",), cwd="/", devices=devices)


def test_cores_are_those_of_the_time_between_two_answers() -> None:
    now = 100.0
    meter = Meter(lambda: now)
    meter.take({"a": {"rss_bytes": 5, "cpu_s": 10.0}}, [], [command("a")])
    assert meter.known["a"] == Usage(rss_bytes=5)
    now = 104.0
    meter.take({"a": {"rss_bytes": 6, "cpu_s": 16.0}}, [], [command("a"), command("b")])
    assert meter.known == {"a": Usage(rss_bytes=6, cores=1.5), "b": Usage()}


def test_where_no_agent_answers_nothing_is_known() -> None:
    async def lost(_: object) -> dict[str, object]:
        raise HostLost("the agent has ended")

    async def answering(nodes: object) -> dict[str, object]:
        assert nodes == ["n"]
        return {"event": "usage", "processes": {"a": {"rss_bytes": 5, "cpu_s": 1.0}}, "devices": []}

    async def other(_: object) -> dict[str, object]:
        return {"event": "done"}

    meter = Meter(lambda: 0.0)
    for ask, known in (
        (answering, Usage(rss_bytes=5)),
        (lost, Usage()),
        (answering, Usage(rss_bytes=5)),
        (other, Usage()),
    ):
        asyncio.run(meter.read(ask, [command("a")]))
        assert meter.known == {"a": known}


def test_the_load_of_a_process_is_that_of_its_own_devices() -> None:
    devices = [
        {"id": 0, "uuid": "u0", "load": 0.5, "memory_bytes": GIB},
        {"id": 1, "uuid": "u1", "load": 1.0, "memory_bytes": GIB},
        {"id": 2, "uuid": "u2", "temperature_c": 40},
    ]
    meter = Meter(lambda: 0.0)
    meter.take({}, devices, [command("a", 0, 1), command("b", 2), command("c", 1, 2), command("d")])
    assert meter.known == {
        "a": Usage(load=0.75, device_bytes=2 * GIB),
        "b": Usage(),
        "c": Usage(load=1.0, device_bytes=GIB),
        "d": Usage(),
    }


def test_devices_of_other_nodes_have_the_same_numbers() -> None:
    devices = [{"id": 0, "node": "n", "load": 0.25}, {"id": 0, "node": "other", "load": 1.0}]
    meter = Meter(lambda: 0.0)
    meter.take({}, devices, [command("a", 0)])
    assert meter.known == {"a": Usage(load=0.25)}


def test_where_a_gpu_is_divided_its_slices_have_memory_of_their_own_and_it_is_no_device_itself() -> None:
    devices = [
        {"uuid": "GPU-0", "memory_bytes": 70 * GIB, "power_w": 300.0},
        {"id": 0, "uuid": "MIG-0", "memory_bytes": 3 * GIB},
        {"id": 1, "uuid": "MIG-1", "memory_bytes": 4 * GIB},
        {"id": 2, "uuid": "GPU-1", "load": 0.9, "memory_bytes": 5 * GIB},
    ]
    meter = Meter(lambda: 0.0)
    meter.take({}, devices, [command("a", 0), command("b", 1, 2)])
    assert meter.known == {
        "a": Usage(device_bytes=3 * GIB),
        "b": Usage(load=0.9, device_bytes=9 * GIB),
    }
