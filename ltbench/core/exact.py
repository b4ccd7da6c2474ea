"""Numbers that are the same on any processor: rationals, rounded once, half to even.

The last bit of a float depends on the order of a sum, which libraries choose by the processor, and
how a tie is rounded for print on the last bit. So rates of counts are kept as rationals, and floats
that were measured as the rationals of their first twelve digits.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from math import isqrt, lcm, log2
from typing import Final

DIGITS: Final = 12
"""Of a float that count: beyond them machines differ."""

UNITS: Final = 10**18
"""Of one, in which irrational roots are counted."""


def measured(number: float) -> Fraction:
    """Return a float as the rational that its first digits say."""
    return Fraction(f"{number:.{DIGITS}g}")


def mean(numbers: Sequence[Fraction]) -> Fraction:
    """Return the mean of one number or more."""
    counts, unit = in_units(numbers)
    return Fraction(sum(counts), unit * len(counts))


def in_units(numbers: Sequence[Fraction]) -> tuple[list[int], int]:
    """Return numbers as counts of a common unit, and its denominator.

    Sums of counts are fast.
    """
    unit = lcm(*(number.denominator for number in numbers))
    return [number.numerator * (unit // number.denominator) for number in numbers], unit


def root(number: Fraction, degree: int = 2) -> Fraction:
    """Return a root of a number from 0: exact where it is rational, else to 18 decimals.

    It then lies halfway to the next, so that fewer decimals are rounded as those of the root are.
    """
    above, below = (_whole_root(n, degree) for n in number.as_integer_ratio())
    if (exact := Fraction(above, below)) ** degree == number:
        return exact
    cut = _whole_root(number.numerator * UNITS**degree // number.denominator, degree)
    return Fraction(2 * cut + 1, 2 * UNITS)


def _whole_root(number: int, degree: int) -> int:
    """Return the largest whole number whose power is at most a number, by Newton's steps."""
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
    """Return the mean accuracy of classes, a fraction; None where none with a weight has an image.

    Args:
        hits: [C], right predictions of each class.
        totals: [C], test images of each class; those without one are left out.
        weights: [C], of the classes; alike where None.
    """
    counts = zip(hits, totals, weights or [1] * len(totals), strict=True)
    kept = [(weight, right, n) for right, n, weight in counts if weight and n]
    if not kept:
        return None
    common = lcm(*{n for _, _, n in kept})
    right = sum(weight * hit * (common // n) for weight, hit, n in kept)
    return Fraction(right, common * sum(weight for weight, _, _ in kept))


def fixed(number: Fraction, decimals: int, flags: str = "") -> str:
    """Return a number with so many decimals; what rounds to zero has no sign.

    Args:
        number: exact.
        decimals: how many.
        flags: a format's, as `+` or a comma.
    """
    whole = round(number * 10**decimals)
    flags = flags if whole else flags.replace("+", "")
    return format(Decimal(whole).scaleb(-decimals), f"{flags}.{decimals}f")


def significant(number: Fraction, digits: int) -> str:
    """Return a number with so many significant digits, as the format `g` has it."""
    rounded = Context(prec=digits).divide(Decimal(number.numerator), Decimal(number.denominator))
    return f"{float(rounded):.{digits}g}"
