"""Sums that do not depend on the order of rows.

Floating point addition is not associative, and a parallel engine adds in any order: the last digits of a plain sum differ
between two runs of the same query. Adding whole numbers of a small unit gives the same digits every time.
"""

from __future__ import annotations

import ibis.expr.types as ir

UNITS = 1_000_000
"""Sums are exact to a millionth."""


def exact_sum(number: ir.NumericValue, where: ir.BooleanValue | None = None, units: int = UNITS) -> ir.FloatingValue:
    """The sum of a column of numbers below 9e18 / ``units``, rounded to a unit each; null where there are none."""
    return (number * units).round().cast("int64").sum(where=where).cast("float64") / units


def exact_mean(number: ir.NumericValue, where: ir.BooleanValue | None = None) -> ir.FloatingValue:
    """The mean, made from ``exact_sum``."""
    return exact_sum(number, where) / number.count(where=where).nullif(0)
