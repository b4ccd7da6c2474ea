"""RecordError: a file in the record folder is not a valid record."""

from ltbench.config.codes import Code
from ltbench.config.errors import CodedError


class RecordError(CodedError):
    """A file is not a valid record, or does not match one."""

    code: Code = "invalid-record"
