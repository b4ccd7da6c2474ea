"""Numbers that are the same on any processor: rationals, rounded once, half to even.

The last bit of a float depends on the order of a sum, which libraries choose by the processor, and
how a tie is rounded for print on the last bit. So rates of counts are kept as rationals, and floats
that were measured as the rationals of their first twelve digits.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from math import isqrt, lcm
from typing import Final

DIGITS: Final = 12
"""Of a float that count: beyond them machines differ."""


def measured(number: float) -> Fraction:
    """Return a float as the rational that its first digits say."""
    return Fraction(f"{number:.{DIGITS}g}")


def mean(numbers: Sequence[Fraction]) -> Fraction:
    """Return the mean of one number or more."""
    return sum(numbers, Fraction(0)) / len(numbers)


def root(number: Fraction) -> Fraction:
    """Return a square root: exact where it is rational, else cut after 18 decimals at least."""
    above, below = number.numerator, number.denominator
    return Fraction(isqrt(above * below * 10**36), below * 10**18)


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
    """Return a number with so many decimals; `flags` are a format's, as `+` or a comma."""
    whole = Decimal(round(abs(number) * 10**decimals)).copy_sign(Decimal(number.numerator))
    return format(whole.scaleb(-decimals), f"{flags}.{decimals}f")


def significant(number: Fraction, digits: int) -> str:
    """Return a number with so many significant digits, as the format `g` has it."""
    rounded = Context(prec=digits).divide(Decimal(number.numerator), Decimal(number.denominator))
    return f"{float(rounded):.{digits}g}"
