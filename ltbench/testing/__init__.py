"""Checks of methods: `check_method(MyMethod)`, or each check as a pytest test."""

from ltbench.testing.checks import CHECKS
from ltbench.testing.verdicts import Verdict, check_method, parametrize_with_checks, verdicts

__all__ = ["CHECKS", "Verdict", "check_method", "parametrize_with_checks", "verdicts"]
