"""Checks of methods: `check_method(MyMethod)`, or each check as a pytest test."""

from ltbench.testing.checks import CHECKS
from ltbench.testing.verdicts import CheckResult, check_method, parametrize_with_checks, verdicts

__all__ = ["CHECKS", "CheckResult", "check_method", "parametrize_with_checks", "verdicts"]
