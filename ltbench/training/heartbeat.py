"""What a training process and whoever watches it tell each other; imports no torch."""


class StoppedError(Exception):
    """The job was asked to stop; what it has done so far is saved."""


class Heartbeat:
    """Nobody watches, and nobody asks to stop."""

    def beat(self) -> None:
        """Show that the job moves on."""

    def stop_asked(self) -> bool:
        """Return whether the job should save and stop."""
        return False
