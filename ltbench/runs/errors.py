"""The error of a file among the records that is none."""


class RecordError(ValueError):
    """A file that is not a sound record."""
