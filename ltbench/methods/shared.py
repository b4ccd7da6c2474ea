"""Base classes of several methods."""

from collections.abc import Sequence

from ltbench.methods.contract import Batch, Method, Stage, TrainedTeacher
from ltbench.networks import Network
from ltbench.networks.class_statistics import ClassMeans


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


class FeatureMeans(Method):
    """Base of methods with class means of features, from statistics passes."""

    network: Network
    means: ClassMeans

    def on_stage_start(self, stage: Stage) -> None:
        """Begin class means in a stage with a statistics pass."""
        if stage.needs_statistics_pass:
            self.means = ClassMeans(self.spec.classes)

    def update_statistics(self, batch: Batch) -> None:
        """Add a batch's features to the means of their classes."""
        self.means.add(self.network.features(batch.images), batch.labels)
