"""Noise evidence: what each piece shows by itself, what it shows together with others, and the sentences about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmate.verdict import Evidence, Noise, noise
from benchmate.verdict.evidence import CLOCK, INVOLUNTARY, OTHERS, OWN_WINDOW_S, PRESSURE, STEAL, WAIT, WINDOW_S

NOTHING = Evidence()
QUIET = Evidence(
    window_s=10.0,
    cpu_share=0.99,
    wait_share=0.001,
    involuntary_per_s=2.0,
    others_share=0.01,
    pressure_share=0.004,
    steal_share=0.0,
    clock_share=0.99,
    ecc_errors=0,
)


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        (NOTHING, "unknown"),
        (QUIET, "quiet"),
        (replace(NOTHING, pressure_share=0.0), "quiet"),
        (replace(NOTHING, wait_share=0.0), "quiet"),
        # what shows trouble where there is some, and nothing where there is none
        (replace(NOTHING, cpu_share=0.2), "unknown"),
        (replace(NOTHING, involuntary_per_s=0.0), "unknown"),
        (replace(NOTHING, others_share=0.0), "unknown"),
        (replace(NOTHING, others_share=0.9), "unknown"),
        (replace(NOTHING, steal_share=0.0, clock_share=1.0, ecc_errors=0), "unknown"),
        # each by itself
        (replace(QUIET, pressure_share=PRESSURE), "noisy"),
        (replace(QUIET, pressure_share=PRESSURE - 1e-9), "quiet"),
        (replace(NOTHING, pressure_share=PRESSURE), "noisy"),
        (replace(NOTHING, wait_share=WAIT), "noisy"),
        (replace(NOTHING, wait_share=WAIT - 1e-9), "quiet"),
        (replace(QUIET, steal_share=STEAL), "noisy"),
        (replace(QUIET, steal_share=STEAL - 1e-9), "quiet"),
        (replace(NOTHING, steal_share=STEAL), "noisy"),
        (replace(QUIET, clock_share=CLOCK), "quiet"),
        (replace(QUIET, clock_share=CLOCK - 1e-9), "noisy"),
        (replace(QUIET, ecc_errors=1), "noisy"),
        (replace(QUIET, neighbours=1), "noisy"),
        (replace(QUIET, throttled=("thermal",)), "noisy"),
        (replace(QUIET, throttled=("a reason of next year's driver",)), "noisy"),
        # a limit under which a device runs is its speed
        (replace(QUIET, throttled=("power cap",)), "quiet"),
        (replace(QUIET, throttled=("power cap",), clock_share=0.7), "noisy"),
        (replace(QUIET, throttled=("power cap", "hw thermal")), "noisy"),
        # others that take no CPU from anybody
        (replace(QUIET, others_share=0.5), "quiet"),
        (replace(QUIET, others_share=0.5, pressure_share=None), "quiet"),
        # preempted, by how much is known or not
        (replace(NOTHING, involuntary_per_s=INVOLUNTARY), "noisy"),
        (replace(NOTHING, involuntary_per_s=INVOLUNTARY - 1), "unknown"),
        (replace(QUIET, involuntary_per_s=1000.0), "quiet"),
        (replace(NOTHING, involuntary_per_s=1000.0, pressure_share=0.0), "quiet"),
        # many threads wait more together than one
        (replace(QUIET, cpu_share=60.0, wait_share=0.6), "quiet"),
        (replace(QUIET, cpu_share=60.0, wait_share=6.0), "noisy"),
        (replace(QUIET, cpu_share=0.01, wait_share=0.03), "quiet"),
        (replace(QUIET, cpu_share=0.01, wait_share=0.06), "noisy"),
        # a window in which the machine's counters say nothing, whatever they show; the process's own are exact
        (replace(QUIET, window_s=WINDOW_S / 2), "unknown"),
        (replace(QUIET, window_s=WINDOW_S), "quiet"),
        (replace(QUIET, window_s=WINDOW_S / 2, pressure_share=0.5), "unknown"),
        (replace(QUIET, window_s=WINDOW_S / 2, others_share=0.5), "unknown"),
        (replace(QUIET, window_s=WINDOW_S / 2, steal_share=0.5), "unknown"),
        (replace(NOTHING, window_s=WINDOW_S / 2, involuntary_per_s=1000.0), "unknown"),
        (replace(NOTHING, window_s=WINDOW_S / 2), "unknown"),
        (replace(QUIET, window_s=WINDOW_S / 2, wait_share=0.5), "noisy"),
        (replace(QUIET, window_s=OWN_WINDOW_S, wait_share=0.5), "noisy"),
        (replace(QUIET, window_s=42e-6, wait_share=0.5, pressure_share=1.0), "unknown"),
        (replace(QUIET, window_s=42e-6, ecc_errors=1), "noisy"),
        (replace(QUIET, window_s=42e-6, throttled=("thermal",)), "noisy"),
        (replace(QUIET, window_s=42e-6, neighbours=1), "noisy"),
    ],
)
def test_evidence_has_this_verdict(known: Evidence, verdict: str) -> None:
    assert noise(known).verdict == verdict


@pytest.mark.parametrize(
    ("known", "reasons"),
    [
        (
            replace(QUIET, pressure_share=0.31, wait_share=0.28, cpu_share=0.7, others_share=0.62),
            (
                "tasks waited for a CPU 31 % of the time: other processes took 62 % of the CPU time",
                "its own threads waited for a CPU 28 % of their time",
            ),
        ),
        (
            replace(QUIET, pressure_share=0.31, others_share=0.62),
            ("tasks waited for a CPU 31 % of the time: other processes took 62 % of the CPU time",),
        ),
        (
            replace(QUIET, pressure_share=0.9, wait_share=2.0, cpu_share=2.0),
            (
                "tasks waited for a CPU 90 % of the time: other processes took only 1 % of the CPU time,"
                " so its own threads and processes are more than its CPUs",
                "its own threads waited for a CPU 50 % of their time",
            ),
        ),
        (
            # one thread cannot be more than its CPUs, whatever the others' counter has missed
            replace(QUIET, pressure_share=0.3, cpu_share=0.97, wait_share=0.03),
            (
                "tasks waited for a CPU 30 % of the time: who took it is not known, for other processes took only 1 %"
                " of the CPU time",
            ),
        ),
        (
            replace(QUIET, pressure_share=None, cpu_share=0.8, wait_share=0.2),
            (
                "its threads waited for a CPU 20 % of their time: who took it is not known, for other processes took"
                " only 1 % of the CPU time",
            ),
        ),
        (
            replace(QUIET, pressure_share=None, cpu_share=1.0, wait_share=1.0),  # two threads on one CPU
            (
                "its threads waited for a CPU 50 % of their time: other processes took only 1 % of the CPU time, so its"
                " own threads and processes are more than its CPUs",
            ),
        ),
        (
            replace(QUIET, window_s=0.07, wait_share=0.2, cpu_share=0.8, pressure_share=0.2),
            ("its threads waited for a CPU 20 % of their time: who took it is not known",),
        ),
        (
            replace(QUIET, window_s=42e-6, pressure_share=1.0),
            ("measured for 4.2e-05 s, too short for the kernel's counters to show what disturbs",),
        ),
        (
            replace(NOTHING, wait_share=0.2, cpu_share=0.8),
            ("its threads waited for a CPU 20 % of their time: who took it is not known",),
        ),
        (
            replace(NOTHING, involuntary_per_s=120.0, others_share=0.5),
            ("it had to leave its CPU 120 times a second: other processes took 50 % of the CPU time",),
        ),
        (
            replace(QUIET, steal_share=0.07),
            ("the hypervisor gave 7 % of the CPU time to other machines (steal)",),
        ),
        (replace(QUIET, clock_share=0.75), ("the clock fell to 75 % of the highest seen",)),
        (
            replace(QUIET, throttled=("power cap", "thermal", "power brake")),
            ("the device's clock was held down: thermal, power brake",),
        ),
        (
            replace(QUIET, ecc_errors=1),
            ("the device had 1 uncorrected memory error: its results may be wrong",),
        ),
        (
            replace(QUIET, neighbours=2),
            ("2 other trials ran side by side with it: memory bandwidth, caches and power were shared",),
        ),
        (
            replace(QUIET, others_share=OTHERS),
            ("other processes took 10 % of the CPU time while nothing waited for one: they share caches and memory",),
        ),
        (
            replace(NOTHING, others_share=0.4),
            ("other processes took 40 % of the CPU time: they share caches and memory",),
        ),
        (
            replace(QUIET, throttled=("power cap",)),
            ("the device ran at its limit (power cap), which sets its clock",),
        ),
        (
            replace(QUIET, window_s=0.04),
            ("measured for 0.04 s, too short for the kernel's counters to show what disturbs",),
        ),
        (QUIET, ()),
        (NOTHING, ()),
    ],
)
def test_reasons_are_sentences_with_their_figures(known: Evidence, reasons: tuple[str, ...]) -> None:
    assert noise(known).reasons == reasons


def test_each_disturbance_has_its_own_reason() -> None:
    all_at_once = replace(
        QUIET,
        pressure_share=0.5,
        wait_share=0.5,
        others_share=0.5,
        steal_share=0.1,
        clock_share=0.5,
        throttled=("thermal",),
        ecc_errors=3,
        neighbours=1,
    )
    found = noise(all_at_once)
    assert (found.verdict, len(found.reasons)) == ("noisy", 7)


share = st.none() | st.floats(0, 2)
evidences = st.builds(
    Evidence,
    window_s=st.none() | st.floats(0.01, 100),
    cpu_share=st.none() | st.floats(0, 64),
    wait_share=share,
    involuntary_per_s=st.none() | st.floats(0, 1e4),
    others_share=share,
    pressure_share=share,
    steal_share=share,
    clock_share=share,
    throttled=st.lists(st.sampled_from(["power cap", "thermal"]), max_size=2).map(tuple),
    ecc_errors=st.none() | st.integers(0, 3),
    neighbours=st.integers(0, 3),
)


@given(evidences)
def test_a_noisy_machine_has_a_reason_and_its_verdict_stands_when_more_goes_wrong(known: Evidence) -> None:
    found = noise(known)
    assert isinstance(found, Noise)
    if found.verdict != "noisy":
        return
    assert found.reasons
    worse = replace(known, pressure_share=1.0, steal_share=0.5, ecc_errors=1, neighbours=3)
    assert noise(worse).verdict == "noisy"
    assert set(noise(replace(known, pressure_share=1.0)).reasons)
