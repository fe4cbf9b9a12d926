"""Rates that threads of a script give end it as the script's own do, under the real voir."""

from __future__ import annotations

from overseen import Bench


def test_rates_from_another_thread_end_the_process(bench: Bench) -> None:
    script = """
        import threading, time
        from benchmate.metrics import give_push
        from benchmate.timings import StepTimer

        def work():
            timer = StepTimer(give_push())
            for number in range(100):
                timer.step(8)
                timer.log(loss=0.5, task="train")
                time.sleep(0.001)
                timer.end()

        threading.Thread(target=work).start()
        time.sleep(100)
    """
    done = bench.run(script, "def instrument_main(ov):\n    yield ov.phases.init\n")
    assert (done.code, len(done.rates("warmup")), len(done.rates())) == (0, 2, 5)
    assert all(rate < 8 / 0.001 for rate in done.rates())


def test_what_a_thread_gives_last_does_not_cut_off_the_end(bench: Bench) -> None:
    voirfile = """
        import threading

        def instrument_main(ov):
            yield ov.phases.load_script
            rates = lambda: [ov.give(task="train", rate=1.0) for _ in range(20)]
            thread = threading.Thread(target=rates)
            thread.start()
            thread.join()
            yield ov.phases.finalize
            print("over")
    """
    done = bench.run("print('script')\n", voirfile)
    assert (done.code, done.errors, done.out) == (0, [], "script\nover\n")
    assert [data["reason"] for data in done.all("stop")] == ["observations"]
