"""What voir and ptera pass over in silence, each told: by a message as early as it can be known, and a failed end."""

from __future__ import annotations

import signal
import subprocess

import pytest

from overseen import Bench

SCRIPT = """
    import functools
    import threading

    def dataloader():
        return [[number] * 16 for number in range(50)]

    def batches():
        for number in range(50):
            yield [number] * 16

    async def waited():
        found = 1
        return found

    def filled():
        found = 1

    def read():
        with open("main.py") as file:
            pass
        lines = [line for line in range(3)]

        def within():
            inner = 1
            return inner

        return within()

    def factory():
        def made():
            step = 1
            return step
        return made

    def never():
        return []

    def maybe(value):
        if value:
            found = value
        return value

    class Loader:
        def __call__(self):
            return dataloader()

    short = lambda: 1
    bound = functools.partial(never)
    one, two = factory(), factory()
    loader = Loader()
    early = dataloader()

    def main():
        for batch in dataloader():
            loss = 1.0 / (batch[0] + 1)
        read(), filled(), one(), maybe(0), list(batches())
        thread = threading.Thread(target=never, name="worker")
        thread.start()
        thread.join()
        print("the script ran")

    if __name__ == "__main__":
        main()
"""


def probing(*selectors: str, phase: str = "load_script") -> str:
    lines = [f"            ov.probe({selector!r}).give()" for selector in selectors]
    return "\n".join(["", "        def instrument_main(ov):", f"            yield ov.phases.{phase}", *lines, ""])


REFUSED = {
    "//dataloder() as x": "main.py has no function dataloder (did you mean dataloader?)",
    "//main > los": "main() has no variable `los` (did you mean `loss`?)",
    "/nowhere/f() as x": "there is no module nowhere",
    "//main > > x": "this is no selector: ",
    "nothing() as x": "Could not resolve 'nothing'",
    "//waited > found": "waited() is async, which ptera cannot rewrite",
    "//short() as x": "it is a lambda",
    "//bound() as x": "it is a partial of never(): probe that function",
    "/math/sin() as x": "it is written in C",
    "//loader() as x": "it is an object of Loader: probe Loader/__call__",
    "//Loader() as x": "it is a class: probe a method of it (Loader/__init__ …)",
    "//one() as x": "it is a function that another one made: its name is factory/made",
    "//factory/made > step": "a probe needs exactly one of them, and there is none or several",
    "//read > file": "`file` of read() is bound by `with … as`",
    "//read > line": "`line` of read() is bound by a comprehension",
    "//read > inner": "probe read/within > inner",
    "//batches() as x": "batches() is a generator, whose result ptera does not see",
    "//filled() as x": "filled() has no return statement",
}


def test_a_probe_that_would_see_nothing_is_refused_with_its_reason(bench: Bench) -> None:
    voirfile = f"""
        def instrument_main(ov):
            yield ov.phases.load_script
            for selector in {list(REFUSED)!r}:
                try:
                    ov.probe(selector)
                except Exception as error:
                    print(type(error).__name__, error)
    """
    lines = [line for line in bench.run(SCRIPT, voirfile).out.splitlines() if line.startswith("ProbeError ")]
    assert len(lines) == len(REFUSED)
    for line, (selector, reason) in zip(lines, REFUSED.items(), strict=True):
        assert line.startswith(f"ProbeError voirfile.py:6: {selector}: ")
        assert reason in line


@pytest.mark.parametrize(
    ("phase", "selector", "reason"),
    [
        ("init", "//main > loss", "the script is not loaded yet, so main() is not there: `yield ov.phases.load_script"),
        ("load_script", "//main > los", "main() has no variable `los` (did you mean `loss`?)"),
    ],
)
def test_a_refused_probe_ends_the_run_before_its_script(bench: Bench, phase: str, selector: str, reason: str) -> None:
    done = bench.run(SCRIPT, probing(selector, phase=phase))
    assert done.code == 1
    assert [error.startswith(f"ProbeError: voirfile.py:4: {selector}: {reason}") for error in done.errors] == [True]
    assert (reason in done.err, "Traceback" in done.err, "the script ran" in done.out) == (True, False, False)


def test_a_probe_that_never_fired_is_a_failure_with_its_cause(bench: Bench) -> None:
    script = SCRIPT.replace("    def main():", "    def waiting():\n        return 1\n\n    def main():")
    never = "this probe never fired"
    done = bench.run(script, probing("//never() as x", "//maybe > found", "//waiting() as x", "//main > loss"))
    assert done.errors == [
        f"ProbeNeverFired: voirfile.py:4: //never() as x: {never}: never() was called in other threads only (worker),"
        " where probes see nothing",
        f"ProbeNeverFired: voirfile.py:5: //maybe > found: {never}: maybe() was called once and never set `found`",
        f"ProbeNeverFired: voirfile.py:6: //waiting() as x: {never}: waiting() was never called in this process",
    ]
    assert (done.code, "the script ran" in done.out) == (1, True)
    assert done.notes == [
        "voirfile.py:5: //maybe > found: the first call of maybe() ended and never set `found`",
        "never() is called in thread 'worker', where probes see nothing",
    ]
    assert done.events.index(("note", {"message": done.notes[0]})) < done.events.index(("phase", {"name": "finalize"}))


def test_what_is_called_while_the_script_is_loaded_is_told_by_its_line(bench: Bench) -> None:
    script = """
        def dataloader():
            return [1]
        loader = dataloader()
        def main():
            for batch in loader:
                pass
        main()
    """
    done = bench.run(script, probing("//dataloader() as x"))
    assert done.code == 1
    assert "dataloader() is called at line 4 while the script is loaded, before probes are set" in done.errors[0]


def test_what_never_fired_is_told_when_the_run_is_ended_from_outside(bench: Bench) -> None:
    script = """
        import time
        def dataloader():
            return [1]
        def main():
            print("waiting", flush=True)
            while True:
                time.sleep(0.01)
        main()
    """
    bench.write("main.py", script)
    bench.write("voirfile.py", probing("//dataloader() as x"))
    process = subprocess.Popen(
        bench.argv("main.py"),
        cwd=bench.folder,
        env=bench.environ({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert "dataloader() was never called in this process" in bench.read(0, out, err).errors[0]


@pytest.mark.parametrize(
    ("voirfile", "message"),
    [
        ("def instrument_main(ov):\n    1 / 0\n    yield ov.phases.init\n", "ZeroDivisionError"),
        ("def instrument_main(ov):\n    yield ov.phases.load_script\n    1 / 0\n", "ZeroDivisionError"),
        ("def instrument_main(ov):\n    yield ov.phases.nosuch\n", "AttributeError"),
        ("def instrument_main(ov):\n    yield 3\n", "Generator must yield a valid phase"),
    ],
)
def test_an_instrument_that_fails_before_the_script_keeps_it_from_running(
    bench: Bench, voirfile: str, message: str
) -> None:
    done = bench.run(SCRIPT, voirfile)
    assert (done.code, "the script ran" in done.out) == (1, False)
    assert [message in error for error in done.errors] == [True]
    assert "an instrument failed" in done.err


def test_an_instrument_that_fails_afterwards_is_a_failure(bench: Bench) -> None:
    done = bench.run(SCRIPT, "def instrument_main(ov):\n    yield ov.phases.run_script\n    1 / 0\n")
    assert (done.code, "the script ran" in done.out) == (1, True)
    assert done.errors == ["ZeroDivisionError: an instrument failed: ZeroDivisionError: division by zero"]
    assert 'voirfile.py", line 3' in done.err


def test_a_stream_that_fails_is_the_script_s_failure(bench: Bench) -> None:
    voirfile = """
        def instrument_main(ov):
            yield ov.phases.load_script
            ov.probe("//main > loss")["loss"].map(lambda loss: 1 / 0).give("loss")
    """
    done = bench.run(SCRIPT, voirfile)
    assert (done.code, "the script ran" in done.out) == (1, False)
    assert done.errors == ["ZeroDivisionError: division by zero"]


ENDINGS = {
    "the end": ("", 0),
    "sys.exit()": ("import sys; sys.exit()", 0),
    "sys.exit(0)": ("import sys; sys.exit(0)", 0),
    "sys.exit(3)": ("import sys; sys.exit(3)", 3),
    "StopProgram": ("from voir.phase import StopProgram; raise StopProgram(None)", 0),
    "StopProgram without a value": ("from voir.phase import StopProgram; raise StopProgram()", 0),
    "milabench's": ("from benchmate.metrics import StopProgram; raise StopProgram()", 0),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_a_script_s_own_end_is_no_error(bench: Bench, case: str) -> None:
    line, code = ENDINGS[case]
    done = bench.run(f"{line}\n", "def instrument_main(ov):\n    yield ov.phases.init\n")
    assert (done.code, done.errors) == (code, [])


def test_a_stop_gets_out_of_nested_calls_that_catch_exceptions(bench: Bench) -> None:
    script = """
        def dataloader():
            return [[number] * 16 for number in range(500)]

        def step(batch):
            try:
                return sum(batch)
            except Exception:
                return 0

        def epoch():
            try:
                for batch in dataloader():
                    step(batch)
            except Exception as error:
                print("caught", error)

        def main():
            try:
                epoch()
            except Exception as error:
                print("caught", error)
            print("the script ran on")

        main()
    """
    voirfile = """
        from benchmate.voirfile import measure
        instrument_main = measure("//dataloader()")
    """
    done = bench.run(script, voirfile)
    assert (done.code, done.out, done.counts) == (0, "", [16] * 5)


def test_giving_without_a_name_is_noted_with_its_line(bench: Bench) -> None:
    script = """
        from giving import give
        for number in range(3):
            loss = 1.0 / (number + 1)
            give(loss)
            give(loss=loss, task="train")
    """
    done = bench.run(script, "def instrument_main(ov):\n    yield ov.phases.init\n")
    assert [data["loss"] for data in done.all("data")] == [1.0, 0.5, 1 / 3]
    assert [
        note.startswith("main.py:5: give(…) without a name looks its name up in the source") for note in done.notes
    ] == [True]
