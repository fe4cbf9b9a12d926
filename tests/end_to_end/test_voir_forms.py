"""Voirfiles in the forms that milabench publishes, and what a voirfile may ask of the overseer, under the real voir."""

from __future__ import annotations

import pytest

from overseen import Bench

# A training script that knows nothing of milabench.
STRANGER = """
    import argparse

    class Criterion:
        def __call__(self, prediction, target):
            return abs(prediction - target) / 16.0

    def dataloader(size):
        return [[number] * size for number in range(500)]

    def train_epoch(loader, criterion):
        for batch in loader:
            loss = criterion(sum(batch), batch[0])

    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--batch-size", type=int, default=16)
        args = parser.parse_args()
        loader = dataloader(args.batch_size)
        for epoch in range(3):
            train_epoch(loader, Criterion())
        print("the script ran to its end")

    if __name__ == "__main__":
        main()
"""

# One that gives its rates itself.
TELLING = """
    import time

    from voir.helpers import current_overseer
    from giving import give

    def main():
        for number in range(400):
            give(task="train", rate=100.0 + number % 3, units="things/s")
            give(task="train", loss=1.0 / (number + 1))
            time.sleep({pause})
        print("the script ran to its end")

    main()
"""

CONFIG = """
        from dataclasses import dataclass

        from voir import configurable
        from voir.phase import StopProgram

        @dataclass
        class Config:
            \"\"\"voir configuration\"\"\"

            # Whether to display the dash or not
            dash: bool = False

            # How often to log the rates
            interval: str = "1s"

            # Number of rates to skip before logging
            skip: int = 5

            # Number of rates to log before stopping
            stop: int = 20

            # Number of seconds between each gpu poll
            gpu_poll: float = 1
"""

CONFIGURABLE = (
    CONFIG
    + """
        from benchmate.monitor import voirfile_monitor
        from benchmate.observer import BenchObserver

        @configurable
        def instrument_main(ov, options: Config):
            yield ov.phases.init

            voirfile_monitor(ov, options)

            yield ov.phases.load_script

            observer = BenchObserver(
                earlystop=options.stop + options.skip,
                batch_size_fn=lambda x: len(x),
                raise_stop_program=True,
            )
            probe = ov.probe("//dataloader() as loader", overridable=True)
            probe["loader"].override(observer.loader)
            probe = ov.probe("//train_epoch > criterion", overridable=True)
            probe["criterion"].override(observer.criterion)

            print("options", options)
            try:
                yield ov.phases.run_script
            except StopProgram:
                print("early stopped")
"""
)

GENERATOR = """
        from benchmate.observer import BenchObserver

        def instrument_main(ov):
            yield ov.phases.init
            ov.argparser.add_argument("--name", default="nobody")

            yield ov.phases.parse_args
            print("hello", ov.options.name)

            yield ov.phases.load_script
            import __main__
            original = __main__.dataloader
            __main__.dataloader = lambda size: original(2 * size)
            observer = BenchObserver(batch_size_fn=len)
            probe = ov.probe("//train_epoch > loader", overridable=True)
            probe["loader"].override(observer.loader)
            ov.probe("//train_epoch > loss")["loss"].subscribe(observer.record_loss)

            yield ov.phases.run_script
            print("ran")

            yield ov.phases.finalize
            print("over")
"""

MONITORS = (
    CONFIG
    + """
        from voir.instruments import early_stop, log

        from benchmate.monitor import log_patterns, milabench_sys_monitor, monitor_monogpu, multigpu_monitor, setupvoir

        @configurable
        def instrument_main(ov, options: Config):
            yield ov.phases.load_script

            import os

            monitor = multigpu_monitor if int(os.getenv("RANK", -1)) != -1 else monitor_monogpu
            ov.require(
                log(*log_patterns(), context="task"),
                monitor(poll_interval=options.gpu_poll),
                early_stop(n=options.stop, key="rate", task="train", signal="stop"),
            )
            log_data, monitors = setupvoir(interval=0.1)
            milabench_sys_monitor()
            log_data({"task": "main", "temperature": 30.0})
            try:
                yield ov.phases.run_script
            except StopProgram:
                print("early stopped")
            monitors.stop()
"""
)


def test_a_configurable_dataclass_with_the_overview_s_probe_is_measured(bench: Bench) -> None:
    done = bench.run(STRANGER, CONFIGURABLE, "--batch-size", "8", options={"stop": 6, "skip": 2, "interval": "1s"})
    assert (done.code, done.errors, done.counts) == (0, [], [8] * 6)
    assert done.out == ("options Config(dash=False, interval='1s', skip=2, stop=6, gpu_poll=1.0)\nearly stopped\n")
    assert done.all("stop") == [{"reason": "observations"}]
    losses = [data["loss"] for data in done.all("data") if "loss" in data]
    assert losses[:3] == [0.0, 7 / 16, 14 / 16]


def test_a_configurable_dataclass_by_hand_takes_its_own_numbers(bench: Bench) -> None:
    done = bench.run(STRANGER, CONFIGURABLE, options=None)
    assert (done.code, done.events) == (0, [])
    assert "early stopped" in done.out
    assert done.err.startswith("train: ")
    assert done.err.endswith(" over 25 steps\n")


def test_a_generator_adds_an_argument_and_replaces_a_function(bench: Bench) -> None:
    done = bench.run(STRANGER, GENERATOR, "--batch-size", "4", before=("--name", "a b"), options={"stop": 6, "skip": 2})
    assert (done.code, done.errors, done.counts) == (0, [], [8] * 6)
    assert done.out == "hello a b\n"  # StopProgram ends a generator that does not catch it
    assert {data["name"] for data in done.all("phase")} >= {"load_script", "run_script", "finalize"}


ENDS = {
    "script's end": {"stop": None, "skip": 2},
    "enough": {"stop": 6, "skip": 2},
    "enough of one's own": {"stop": None, "skip": 2, "own": 1},
}
FINALIZED = """
        from voir import configurable
        from voir.phase import StopProgram
        from dataclasses import dataclass
        from benchmate.observe import Observer

        @dataclass
        class Config:
            own: int = 0

        @configurable
        def instrument_main(ov, options: Config):
            yield ov.phases.load_script
            observer = Observer()
            probe = ov.probe("//train_epoch > loader", overridable=True)
            probe["loader"].override(observer.loader)
            if options.own:
                ov.probe("//train_epoch > loss")["loss"].subscribe(lambda _: ov.stop())
            {wait}
            yield ov.phases.finalize
            print("over")
            {then}
"""
CATCHES = "try: yield ov.phases.run_script\n            except StopProgram: print('stopped')"


@pytest.mark.parametrize("wait", ["", CATCHES])
@pytest.mark.parametrize("end", ENDS)
def test_finalize_comes_however_the_script_ends(bench: Bench, end: str, wait: str) -> None:
    done = bench.run(STRANGER, FINALIZED.format(wait=wait, then=""), options=ENDS[end])
    assert (done.code, done.errors) == (0, [])
    assert not any("StopProgram" in note for note in done.notes)
    assert done.out.splitlines()[-1] == "over"
    assert ("stopped" in done.out) == (bool(wait) and end != "script's end")


@pytest.mark.parametrize("wait", ["", CATCHES])
@pytest.mark.parametrize("end", ENDS)
def test_an_error_in_finalize_fails_however_the_script_ended(bench: Bench, end: str, wait: str) -> None:
    done = bench.run(STRANGER, FINALIZED.format(wait=wait, then="raise OSError('no room')"), options=ENDS[end])
    assert (done.code, done.errors) == (1, ["OSError: an instrument failed: OSError: no room"])


def test_an_instrument_that_ends_before_its_finalize_is_told(bench: Bench) -> None:
    done = bench.run(STRANGER, FINALIZED.format(wait="yield ov.phases.run_script", then=""), options=ENDS["enough"])
    assert (done.code, done.errors, "over" in done.out) == (0, [], False)
    told = "instrument_main was ended by the StopProgram that `yield ov.phases.run_script` raised, since enough was"
    assert [note.startswith(told) for note in done.notes].count(True) == 1


def test_an_argument_takes_its_value_from_the_suite_and_the_generator_goes_on_to_the_end(bench: Bench) -> None:
    done = bench.run(STRANGER, GENERATOR, "--batch-size", "4", options={"stop": None, "skip": 2, "name": "suite"})
    assert (done.code, done.errors) == (0, [])
    assert done.out == "hello suite\nthe script ran to its end\nran\nover\n"
    assert len(done.counts) == 1498


def test_monitor_names_say_in_a_note_that_they_start_nothing(bench: Bench) -> None:
    done = bench.run(TELLING.format(pause=0), MONITORS, options={"stop": 6, "skip": 2})
    assert (done.code, done.errors, done.out) == (0, [], "early stopped\n")
    assert done.notes == [
        f"{name} starts no monitor in this process: milabench watches the machine and its devices from one of its own"
        for name in ("monitor_monogpu", "setupvoir")
    ]
    assert {"task": "main", "temperature": 30.0} in done.all("data")
    assert done.all("stop") == [{"reason": "voirfile"}]
    assert (len(done.rates("warmup")), len(done.rates())) == (2, 5)  # early_stop counts those of warm-up, and one more


def test_the_overview_s_loop_times_the_calls_of_next_in_the_wrapper_of_a_voirfile(bench: Bench) -> None:
    """The methodology: no waiting in the loop, losses and rates told when a pass ends, then StopProgram."""
    voirfile = """
        import time

        from benchmate.metrics import StopProgram, give_push

        WANTED = 12

        class Wrapper:
            def __init__(self, loader):
                self.loader, self.total = loader, 0

            def __len__(self):
                return len(self.loader)

            def __iter__(self):
                push, events = give_push(), []
                iterator = iter(self.loader)
                start = time.perf_counter()
                for batch in iterator:
                    yield batch
                    end = time.perf_counter()
                    events.append((start, end, len(batch)))
                    if len(events) + self.total >= WANTED:
                        break
                    start = end
                for start, end, size in events:
                    push(task="train", rate=size / (end - start), units="items/s")
                self.total += len(events)
                if self.total >= WANTED:
                    raise StopProgram()

        def instrument_main(ov):
            yield ov.phases.load_script

            def wrapper(loader):
                print("received loader obj")
                return Wrapper(loader)

            probe = ov.probe("//dataloader() as loader", overridable=True)
            probe['loader'].override(wrapper)
    """
    script = STRANGER.replace("range(500)", "range(5)")
    done = bench.run(script, voirfile, options={"stop": None, "skip": 2})
    assert (done.code, done.errors, done.out) == (0, [], "received loader obj\n")
    assert (len(done.rates("warmup")), len(done.rates())) == (2, 10)
    assert all(rate > 0 for rate in done.rates())


def test_three_lines_do_the_same(bench: Bench) -> None:
    voirfile = """
        from benchmate.voirfile import measure

        instrument_main = measure("//dataloader()", criterion="//train_epoch > criterion", unit="images", count=len)
    """
    done = bench.run(STRANGER, voirfile, options={"stop": 6, "skip": 2})
    assert (done.code, done.errors, done.out, done.counts) == (0, [], "", [16] * 6)
    assert done.all("hello")[0]["unit"] == "images"
    assert [data["loss"] for data in done.all("data") if "loss" in data][:2] == [0.0, 15 / 16]


def test_an_instrument_asks_the_overseer_for_everything(bench: Bench) -> None:
    voirfile = """
        def also(ov):
            yield ov.phases.init
            print("required")

        def instrument_main(ov):
            yield ov.phases.init
            ov.require(also)
            ov.argparser.add_argument("--flag", action="store_true")
            ov.given.where("loss").map(lambda data: {"twice": 2 * data["loss"]}) >> ov.log
            ov.given.where("question").subscribe(lambda data: ov.give(answer=42))
            ov.given["?answer"].subscribe(lambda answer: ov.log({"answer": answer}))
            yield ov.phases.parse_args
            ov.log({"flag": ov.options.flag, "phase": ov.phases.parse_args.name})
            yield ov.phases.load_script
            ov.probe("//main > value").give()
    """
    script = """
        from giving import give
        from voir.helpers import log

        def main():
            value = 3
            give(loss=0.5, task="train")
            give(question=1)
            log(rate=2.0, task="train")
            return value

        main()
    """
    done = bench.run(script, voirfile, before=("--flag",), options={"stop": 5, "skip": 0})
    assert (done.code, done.errors, done.out) == (0, [], "required\n")
    assert done.all("data") == [
        {"flag": True, "phase": "parse_args"},
        {"task": "train", "loss": 0.5},
        {"twice": 1.0},
        {"answer": 42},
        {"rate": 2.0, "task": "train"},
    ]


@pytest.mark.parametrize(
    ("stop", "pause", "reason", "measured"),
    [
        (6, 0, "observations", range(6, 7)),
        ({"observations": 6, "seconds": 60}, 0, "observations", range(6, 7)),
        ({"seconds": 0.2}, 0.01, "seconds", range(2, 22)),
        ({"precision": 0.05}, 0, "precision", range(20, 200)),
    ],
)
def test_rates_of_a_script_end_it_at_every_limit(
    bench: Bench, stop: object, pause: float, reason: str, measured: range
) -> None:
    voirfile = CONFIGURABLE.split("            yield ov.phases.load_script")[0]
    done = bench.run(TELLING.format(pause=pause), voirfile, options={"stop": stop, "skip": 3})
    assert (done.code, done.errors, done.out) == (0, [], "")
    assert [data["reason"] for data in done.all("stop")] == [reason]
    assert (len(done.rates("warmup")), len(done.rates()) in measured) == (3, True)


def test_the_suite_s_limit_holds_without_anything_in_the_voirfile(bench: Bench) -> None:
    done = bench.run(TELLING.format(pause=0), "def instrument_main(ov):\n    yield ov.phases.init\n")
    assert (done.code, done.out, len(done.rates())) == (0, "", 5)
