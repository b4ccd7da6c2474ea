"""RecordError: a file in the record folder is not a valid record."""

from ltbench.config.errors import CodedError


class RecordError(CodedError):
    """A file is not a sound record, or does not go with one."""

    code = "invalid-record"
