"""Exact numbers, equal on every processor: rationals, rounded once, half to even.

The last bit of a float depends on the order of a sum, which libraries choose by processor, and a
printed tie is rounded by the last bit. So rates of counts are rationals, and measured floats are
the rationals of their first twelve digits.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from itertools import compress
from math import isqrt, lcm, log2
from operator import mul
from typing import Final

DIGITS: Final = 12
"""Significant digits of a measured float; further ones differ between machines."""

UNITS: Final = 10**18
"""Denominator of irrational roots."""


def measured(number: float) -> Fraction:
    """Return a float as a rational of its first DIGITS digits."""
    return Fraction(*Decimal(f"{number:.{DIGITS}g}").as_integer_ratio())


def percent(fraction: Fraction) -> Fraction:
    """Return a fraction in percent, faster than `100 * fraction`."""
    return Fraction(100 * fraction.numerator, fraction.denominator)


def mean(numbers: Sequence[Fraction]) -> Fraction:
    """Return the mean of at least one number."""
    counts, unit = in_units(numbers)
    return Fraction(sum(counts), unit * len(counts))


def in_units(numbers: Sequence[Fraction]) -> tuple[list[int], int]:
    """Return the numerators over a common denominator, and that denominator.

    Sums of integers are fast.
    """
    unit = lcm(*(number.denominator for number in numbers))
    return [number.numerator * (unit // number.denominator) for number in numbers], unit


def root(number: Fraction, degree: int = 2) -> Fraction:
    """Return a root of a number, at least 0.

    A rational root is exact. Any other is cut to 18 decimals, plus half a unit of the last: to
    fewer decimals it is then rounded as the root itself is.
    """
    ratio = number.as_integer_ratio()
    above, below = _whole_root(ratio[0], degree), _whole_root(ratio[1], degree)
    if (above**degree, below**degree) == ratio:
        return Fraction(above, below)
    cut = _whole_root(ratio[0] * UNITS**degree // ratio[1], degree)
    return Fraction(2 * cut + 1, 2 * UNITS)


def _whole_root(number: int, degree: int) -> int:
    """Return the integer part of an integer's root, by Newton's method."""
    if degree == 2 or not number:
        return isqrt(number)
    whole, part = divmod(log2(number) / degree, 1)
    guess = (int(2 ** (part + 50) + 2**10) << int(whole) >> 50) + 1  # above the root, and near it
    while (power := guess ** (degree - 1)) * guess > number:
        guess = ((degree - 1) * guess + number // power) // degree
    return guess


def mean_accuracy(
    hits: Sequence[int], totals: Sequence[int], weights: Sequence[int] | None = None
) -> Fraction | None:
    """Return the weighted mean of the classes' accuracies, a fraction.

    Args:
        hits: [C], correct predictions of each class.
        totals: [C], test images of each class; classes without images are left out.
        weights: [C], of the classes; equal if None.

    Returns:
        None if no class with a weight has images.
    """
    if 0 in totals:
        kept = [n > 0 for n in totals]
        weights = None if weights is None else list(compress(weights, kept))
        hits, totals = list(compress(hits, kept)), list(compress(totals, kept))
    weight = len(totals) if weights is None else sum(weights)
    if not weight:
        return None
    sizes = set(totals)
    common = lcm(*sizes)
    if len(sizes) > 1:
        hits = [hit * (common // n) for hit, n in zip(hits, totals, strict=True)]
    right = sum(hits) if weights is None else sum(map(mul, weights, hits))
    return Fraction(right, common * weight)


def in_decimals(number: Fraction, decimals: int) -> int:
    """Round a number, half to even, to units of the last decimal."""
    scale: int = 10**decimals
    whole, rest = divmod(number.numerator * scale, number.denominator)
    return whole + (2 * rest + (whole & 1) > number.denominator)


def fixed(number: Fraction, decimals: int, flags: str = "") -> str:
    """Format a number with a fixed number of decimals.

    A number that rounds to zero has no sign.

    Args:
        number: exact.
        decimals: number of decimals.
        flags: of the format specification, such as `+` or a comma.
    """
    whole = in_decimals(number, decimals)
    flags = flags if whole else flags.replace("+", "")
    return format(Decimal(whole).scaleb(-decimals), f"{flags}.{decimals}f")


def significant(number: Fraction, digits: int) -> str:
    """Format a number with significant digits, like the format `g`."""
    rounded = Context(prec=digits).divide(Decimal(number.numerator), Decimal(number.denominator))
    return f"{float(rounded):.{digits}g}"
