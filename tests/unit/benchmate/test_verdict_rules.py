"""When a ratio is an alarm is for whoever judges it to say: many at once take more, a tolerance asks for less."""

from __future__ import annotations

import pytest

from benchmate.verdict import Rule, ratio

BEFORE = [100.0, 101.0, 99.0, 100.5, 99.5]
SLOWER = [rate * 0.97 for rate in BEFORE]


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (Rule(), "worse"),
        (Rule(confidence=0.9999), "undecided"),
        (Rule(confidence=0.9995), "worse"),
        (Rule(confidence=0.9995, degrees=0.5), "undecided"),
        (Rule(material=0.05), "undecided"),
        (Rule(material=0.05, same=0.05), "same"),
        (Rule(material=0.02, same=0.02), "worse"),
    ],
)
def test_a_rule_says_what_is_an_alarm_and_what_is_the_same(rule: Rule, verdict: str) -> None:
    assert ratio(BEFORE, SLOWER, rule).verdict == verdict


def test_the_shown_interval_is_of_95_percent_whatever_the_rule() -> None:
    usual, strict = ratio(BEFORE, SLOWER), ratio(BEFORE, SLOWER, Rule(confidence=0.9999))
    assert (usual.low, usual.high) == (strict.low, strict.high)


def test_what_is_the_same_says_within_which_bounds() -> None:
    assert ratio(BEFORE, BEFORE, Rule(same=0.025)).reason.endswith("within ±2.5 %")
