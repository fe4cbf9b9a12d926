"""The factors of two-sided intervals: Student's t, and the normal distribution's."""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=512)
def student_t(degrees: float, confidence: float = 0.95) -> float:
    """Return the factor of a two-sided interval by Student's t.

    By Newton's method on the distribution's tails (an incomplete beta function), from the first terms of its expansion
    around the normal's z (Abramowitz and Stegun, 26.7.5): they lie below, and as tails are convex no step goes too far.
    Raises ValueError under one degree of freedom, and for a confidence that is not between 0 and 1.
    """
    if degrees < 1:
        raise ValueError("at least one degree of freedom is needed")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
    z = normal(confidence)
    t = z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    step = t
    while step > 1e-6 * t:
        step = (_two_tails(t, degrees) - (1 - confidence)) / (2 * _density(t, degrees))
        t += step
    return t


@lru_cache(maxsize=16)
def normal(confidence: float) -> float:
    """Return the factor of a two-sided interval of a normal distribution, by Newton's method from 0 upwards."""
    z, step = 0.0, 1.0
    while step > 1e-12:
        step = (math.erfc(z / math.sqrt(2)) - (1 - confidence)) / (math.sqrt(2 / math.pi) * math.exp(-z * z / 2))
        z += step
    return z


def _density(t: float, degrees: float) -> float:
    logarithm = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    return math.exp(logarithm - (degrees + 1) / 2 * math.log1p(t * t / degrees))


def _two_tails(t: float, degrees: float) -> float:
    """Return P(|T| > t) of Student's t."""
    x = degrees / (degrees + t * t)
    return _incomplete_beta(x, degrees / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction where that converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22), from its last terms upwards."""
    value = 1.0
    for m in range(6 + math.isqrt(math.ceil(max(a, b))), 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        value = 1 + odd / (1 + even / value)
    return value
