"""Everything computed from records: boards, metrics, tests of significance. Imports no torch."""
