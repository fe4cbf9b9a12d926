"""Which voirfile is loaded and what of it cannot be read: it is told, and the script does not run unmeasured."""

from __future__ import annotations

import pytest

from overseen import Bench


def test_a_one_argument_configurable_runs_and_options_that_voir_cannot_read_do_not(bench: Bench) -> None:
    voirfile = """
        from voir import configurable

        @configurable
        def instrument_main(ov):
            yield ov.phases.run_script
            print("instrumented")
    """
    done = bench.run("print('script')\n", voirfile)
    assert (done.code, done.errors, done.out) == (0, [], "script\ninstrumented\n")
    assert done.notes == ["instrument_main takes no options: @configurable does nothing there"]


IMPORTED = {
    "Optional": ("import typing", "typing.Optional[int]", "Config.stop: voir cannot read its type: give it one of int"),
    "text": ("from __future__ import annotations", "int", "Config.stop: its type is text, which voir cannot read"),
}


@pytest.mark.parametrize("case", IMPORTED)
def test_options_of_another_file_that_voir_cannot_read_keep_the_script_from_running(bench: Bench, case: str) -> None:
    first, kind, message = IMPORTED[case]
    bench.write(
        "shared.py", f"{first}\nimport dataclasses\n@dataclasses.dataclass\nclass Config:\n    stop: {kind} = 1\n"
    )
    voirfile = """
        from voir import configurable
        from shared import Config

        @configurable
        def instrument_main(ov, options: Config):
            yield ov.phases.init
    """
    done = bench.run("print('script')\n", voirfile, PYTHONPATH=bench.environ(None)["PYTHONPATH"] + f":{bench.folder}")
    assert (done.code, done.out) == (1, "")
    assert [error.startswith(f"ConfigurationError: {message}") for error in done.errors] == [True]


def test_a_voirfile_that_is_no_python_is_told_by_its_line(bench: Bench) -> None:
    done = bench.run("print('script')\n", "def instrument_main(ov):\n    yield yield\n")
    assert (done.code, done.out, "Traceback" in done.err) == (1, "", False)
    assert "voirfile.py: line 2: " in done.errors[0]


def test_only_the_voirfile_that_is_named_is_loaded(bench: Bench) -> None:
    bench.write("voirfile.py", "raise SystemExit('the folder\\'s own was loaded')\n")
    named = bench.write("named.py", "def instrument_main(ov):\n    yield ov.phases.load_script\n    print('named')\n")
    (bench.folder / "below").mkdir()
    for environ, out in (({"VOIRFILE": str(named)}, "named\nscript\n"), ({"VOIRFILE": ""}, "script\n")):
        script = bench.write("below/main.py", "print('script')\n")
        done = bench.started(str(script), **environ)
        assert (done.code, done.out, done.err) == (0, out, "")


def test_data_fd_is_the_process_s_own_file(bench: Bench) -> None:
    script = """
        import json, os
        os.write(int(os.environ["DATA_FD"]), json.dumps({"task": "train", "rate": 3.0}).encode() + b"\\n")
    """
    other = bench.write("other", "")
    voirfile = "def instrument_main(ov):\n    yield ov.phases.init\n"
    with other.open("a") as file:
        done = bench.run(script, voirfile, RANK="1", WORLD_SIZE="2", DATA_FD=str(file.fileno()))
    assert (done.code, other.read_text()) == (0, "")
    assert '{"task": "train", "rate": 3.0}\n' in (bench.folder / "a.rank1.jsonl").read_text()
