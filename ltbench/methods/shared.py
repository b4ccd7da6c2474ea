"""Base classes of several methods."""

from collections.abc import Sequence

from ltbench.methods.contract import Method, TrainedTeacher


class OneTeacher(Method):
    """Base of methods with one teacher, which is frozen."""

    teacher: Method

    def add_teacher(self, teacher: Method) -> None:
        """Add the untrained teacher, from the constructor."""
        self.teacher = teacher
        self.freeze(teacher)

    def load_teachers(self, teachers: Sequence[TrainedTeacher]) -> None:
        """Load the teacher's weights."""
        (trained,) = teachers
        self.teacher.load_state_dict(trained.weights)
