"""Heartbeat between a training process and its launcher. Imports no torch."""


class StoppedError(Exception):
    """The job was stopped on request, after saving a checkpoint."""


class Heartbeat:
    """No-op heartbeat, for use without a launcher."""

    def beat(self) -> None:
        """Report that the job is alive."""

    def stop_asked(self) -> bool:
        """Return whether the job should save and stop."""
        return False
