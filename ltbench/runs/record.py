"""Schema of records.

A job is done if and only if its record exists.
"""

import base64
from collections import Counter
from datetime import datetime
from fractions import Fraction
from operator import gt
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from ltbench.config.base import HEX64, Model, Name
from ltbench.config.job import Job
from ltbench.core.exact import measured
from ltbench.core.groups import Group, class_groups
from ltbench.core.label_shift import Direction, Shift
from ltbench.core.open_set import f_measure

if TYPE_CHECKING:
    import numpy as np

SCHEMA_VERSION: Final = 2

LATER_FIELDS = frozenset(
    (
        *("shifted", "open_set", "class_names", "confusion", "confusion_sha256"),
        *("hits", "trained", "read", "active_steps"),
    )
)
"""Fields that a record may lack: they were added after the first records were written."""

DERIVED_FIELDS = ("ece",)
"""Floating-point fields that are derived from others: a rerun may differ in the last digit."""

MAX_INLINE_CLASSES: Final = 200
"""Most classes for which confusion counts are in the record, not in a separate file."""

BFloat16 = Literal["gpu", "amx", "avx512_bf16", "avx512", "native", "emulated"]
"""Hardware of bfloat16 products: the GPU, CPU instructions, or emulation in float32."""


class SplitFacts(Model):
    """Size and hashes of the training, test and held-out splits.

    `auxiliary_*` is None if nothing was held out. `bad_images` is the number of undecodable images,
    as in the job's dataset. `class_names` are printable.
    """

    train_hash: str = Field(pattern=HEX64)
    train_counts: tuple[int, ...]
    longtailed_counts: tuple[int, ...]
    test_hash: str = Field(pattern=HEX64)
    auxiliary_hash: str | None = Field(None, pattern=HEX64)
    auxiliary_counts: tuple[int, ...] | None = None
    bad_images: int = 0
    class_names: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, or their indices in older records."""
        return self.class_names or tuple(map(str, range(len(self.train_counts))))


class Calibration(Model):
    """Confidence and accuracy in 15 equal bins (lo, hi], as fractions."""

    counts: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    ece: float

    @model_validator(mode="after")
    def _one_value_a_bin(self) -> Self:
        if not len(self.counts) == len(self.confidence) == len(self.accuracy):
            raise ValueError("calibration needs one value a bin of each kind")
        return self

    @property
    def mean_confidence(self) -> Fraction:
        """Mean confidence over all test images."""
        bins = zip(self.counts, self.confidence, strict=True)
        return sum(count * measured(mean) for count, mean in bins) / Fraction(sum(self.counts))


class Counts(Model):
    """Correct predictions and images of each class."""

    hits: tuple[int, ...]
    totals: tuple[int, ...]

    @model_validator(mode="after")
    def _within_totals(self) -> Self:
        if len(self.hits) != len(self.totals):
            raise ValueError("hits and totals need one value a class each")
        if min(self.hits, default=0) < 0 or any(map(gt, self.hits, self.totals)):
            raise ValueError("hits of a class lie between 0 and its total")
        if sum(self.totals) == 0:
            raise ValueError("no test images")
        return self

    @property
    def accuracy(self) -> Fraction:
        """Top-1 accuracy."""
        return Fraction(sum(self.hits), sum(self.totals))


class EvaluationResult(Counts):
    """Exact counts of a test.

    Attributes:
        correct: one bit per image in hashed test order (big-endian, base64).
        predicted: [C], images predicted as each class.
        group_calibration: by shot group with test images.
        confusion: [C], for each true class its images by predicted class, without zeros.
        confusion_sha256: hash of these counts as text, if they are in a separate file.
        auroc_pairs: [C], one-vs-rest pairs of images, counted twice if the image of the class has
            the higher probability of the class, once if both are equal.
        average_precision: [C], one-vs-rest, the mean over all orders of tied images; None for a
            class without test images.
    """

    correct: str
    calibration: Calibration
    selection: Literal["last_epoch"] = "last_epoch"
    predicted: tuple[int, ...]
    group_calibration: dict[Group, Calibration]
    confusion: tuple[dict[int, Annotated[int, Field(ge=1)]], ...] | None = None
    confusion_sha256: str | None = Field(default=None, pattern=HEX64)
    auroc_pairs: tuple[Annotated[int, Field(ge=0)], ...]
    average_precision: tuple[Annotated[float, Field(gt=0, le=1)] | None, ...]

    @model_validator(mode="after")
    def _calibration_of_all_images(self) -> Self:
        if (images := sum(self.calibration.counts)) != sum(self.totals):
            message = f"calibration is of {images} of {sum(self.totals)} test images"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_prediction_an_image(self) -> Self:
        if sum(self.predicted) != sum(self.totals) or len(self.predicted) != len(self.totals):
            raise ValueError("predicted needs one value a class, of all test images")
        if any(map(gt, self.hits, self.predicted)):
            raise ValueError("hits of a class are more than its predictions")
        return self

    @model_validator(mode="after")
    def _confusion_of_all_images(self) -> Self:
        if self.confusion is None:
            return self
        if self.confusion_sha256 is not None:
            raise ValueError("confusion counts are in the record or in a separate file, not both")
        if tuple(sum(row.values()) for row in self.confusion) != self.totals:
            raise ValueError("confusion needs one row a class, of all its test images")
        if tuple(row.get(k, 0) for k, row in enumerate(self.confusion)) != self.hits:
            raise ValueError("confusion counts disagree with hits")
        taken: Counter[int] = Counter()
        for row in self.confusion:
            taken.update(row)
        if not taken.keys() <= set(range(len(self.totals))):
            raise ValueError("confusion has a predicted class that does not exist")
        if self.predicted != tuple(taken[k] for k in range(len(self.totals))):
            raise ValueError("confusion counts disagree with predicted")
        return self

    @model_validator(mode="after")
    def _ranked_within_bounds(self) -> Self:
        images = sum(self.totals)
        most = [2 * total * (images - total) for total in self.totals]
        if len(self.auroc_pairs) != len(most) or any(map(gt, self.auroc_pairs, most)):
            raise ValueError("auroc_pairs needs one value a class, of all pairs at most")
        defined = [value is not None for value in self.average_precision]
        if defined != [total > 0 for total in self.totals]:
            raise ValueError("average_precision needs one value a class with test images")
        return self

    @model_validator(mode="after")
    def _bits_fit(self) -> Self:
        images, hits = sum(self.totals), sum(self.hits)
        packed = base64.b64decode(self.correct, validate=True)
        if len(packed) != (images + 7) // 8:
            raise ValueError(f"correctness bits do not fit {images} test images")
        number = int.from_bytes(packed, "big")
        if number % (1 << -images % 8):
            raise ValueError("bits are set after the last test image")
        if number.bit_count() != hits:
            raise ValueError(f"correctness bits ({number.bit_count()}) disagree with hits ({hits})")
        return self

    def confusion_matrix(self) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]] | None":
        """Return the confusion matrix [C, C], rows true; None if not loaded."""
        import numpy as np

        if self.confusion is None:
            return None
        matrix = np.zeros((len(self.totals),) * 2, np.int64)
        for true, row in enumerate(self.confusion):
            matrix[true, list(row)] = list(row.values())
        return matrix

    def repeats(self, other: "EvaluationResult") -> bool:
        """Return whether two tests agree in all numbers that both have."""
        return _agree(self.model_dump(), other.model_dump())

    def bits(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Return one correctness value for each test image."""
        return self.unpack(self.correct, sum(self.totals))

    @staticmethod
    def unpack(text: str, images: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Decode correctness values."""
        import numpy as np

        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
        return np.unpackbits(packed, count=images).astype(bool)

    @staticmethod
    def pack(bits: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> str:
        """Encode correctness values."""
        import numpy as np

        return base64.b64encode(np.packbits(bits).tobytes()).decode()


class OpenSetTest(Model):
    """Open-set counts at each threshold on the largest class probability.

    `right` counts correctly classified test images, `mistaken` OOD images, that reach the
    threshold. `images` is the number of OOD images.
    """

    dataset: str
    fingerprint: str = Field(pattern=HEX64)
    images: int = Field(ge=1)
    thresholds: tuple[float, ...]
    right: tuple[Annotated[int, Field(ge=0)], ...]
    mistaken: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _one_count_a_threshold(self) -> Self:
        if not len(self.thresholds) == len(self.right) == len(self.mistaken):
            raise ValueError("an open-set test needs one count of each kind a threshold")
        if max(self.mistaken, default=0) > self.images:
            raise ValueError(f"more than all {self.images} images of the open set are mistaken")
        return self


class CurvePoint(Model):
    """Hits of each class on the test set after an epoch."""

    epoch: int
    hits: tuple[int, ...]


class ShiftedTest(Counts):
    """A test under label shift; `index_hash` is that of the images."""

    direction: Direction
    ratio: int = Field(ge=1)
    index_hash: str = Field(pattern=HEX64)

    @property
    def shift(self) -> Shift:
        """Class frequencies of the chosen images."""
        return Shift(self.direction, self.ratio)


class ShiftedTests(Model):
    """Label-shift tests of a method that uses information on the test set."""

    test_time: Literal["transductive", "known_test_prior"]
    tests: tuple[ShiftedTest, ...]

    def accuracy(self, shift: Shift) -> Fraction | None:
        """Return the accuracy under a shift; None if not tested."""
        return next((test.accuracy for test in self.tests if test.shift == shift), None)


class Passes(Model):
    """Network passes per training image, by kind.

    Attributes:
        gradient: forward and backward passes.
        forward: forward-only passes: frozen parts, momentum copies.
        teachers: forward passes of trained teachers.
    """

    gradient: float = Field(ge=0)
    forward: float = Field(ge=0)
    teachers: int = Field(ge=0)


class Training(Model):
    """Training history.

    Attributes:
        losses: mean loss of each epoch.
        steps: optimizer steps of all epochs.
        curve: tests between epochs, if any.
        hits: [C], correct predictions on the training images after the last epoch, with the test's
            transform and prediction rule; None for a stage that predicts no classes.
        passes: network passes of a step.
        active_steps: of each metric term that was used, the steps in which it was not zero, and all
            steps that had it; None for a method without.
    """

    epochs: int
    steps: int
    losses: tuple[float, ...]
    curve: tuple[CurvePoint, ...] = ()
    hits: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    passes: Passes
    active_steps: dict[str, tuple[int, int]] | None = None

    @property
    def active_shares(self) -> dict[str, Fraction]:
        """The share of steps in which each metric term was not zero."""
        return {term: Fraction(*steps) for term, steps in (self.active_steps or {}).items()}

    @model_validator(mode="after")
    def _active_steps_within_steps(self) -> Self:
        for term, (active, steps) in (self.active_steps or {}).items():
            if not 0 <= active <= steps <= self.steps or steps == 0:
                raise ValueError(f"{term} was active in {active} of {steps} steps")
        return self

    @model_validator(mode="after")
    def _one_loss_an_epoch(self) -> Self:
        if len(self.losses) != self.epochs:
            raise ValueError(f"{len(self.losses)} losses for {self.epochs} epochs")
        return self


class Cost(Model):
    """Cost of the job; it differs from run to run.

    `peak_memory_mb` is the peak over the job's processes of the `memory` named: GPU memory (as
    allocated by PyTorch) on a GPU, else host memory. `cpu_seconds` is the user and system time of
    all its processes, without what an interrupted attempt spent after its last checkpoint.
    """

    train_seconds: float
    test_seconds: float
    images_per_second: float | None
    peak_memory_mb: float
    devices: int
    attempts: int
    memory: Literal["host", "gpu"] = "host"
    cpu_seconds: float = Field(ge=0)


class Environment(Model):
    """Software and hardware of the job.

    `hardware` is the GPU, or the processor of a job on CPU. `gpu_memory_mb` is the total memory of
    the GPU.
    """

    ltbench: str
    commit: str | None
    python: str
    torch: str
    lightning: str
    hardware: str
    threads: int
    finished: datetime
    processor: str | None = None
    bf16: BFloat16 | None = None
    gpu_memory_mb: float | None = Field(default=None, gt=0)


class Weights(Model):
    """The job's safetensors file, which is outside git.

    Attributes:
        parameters: all parameters of the method, including teachers and momentum copies.
        trained: parameters that the stage trains.
        read: parameters that a prediction uses; None for a stage that predicts no classes.
    """

    sha256: str = Field(pattern=HEX64)
    parameters: int
    trained: int | None = Field(default=None, ge=0)
    read: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _not_more_than_all(self) -> Self:
        if max(self.trained or 0, self.read or 0) > self.parameters:
            raise ValueError("trained or read parameters are more than all parameters")
        return self


class Record(Model):
    """Record of a finished job.

    Only `cost` and `environment` vary between runs of an equal job. `test` is None for
    pre-training, which predicts no classes.
    """

    schema_version: Literal[2]
    key: str
    grid: Name
    method: str
    job: Job
    split: SplitFacts
    training: Training | None
    test: EvaluationResult | None
    shifted: ShiftedTests | None = None
    open_set: OpenSetTest | None = None
    weights: Weights
    cost: Cost
    environment: Environment

    @model_validator(mode="after")
    def _belongs_to_its_job(self) -> Self:
        if self.key != self.job.key:
            raise ValueError(f"key {self.key} is not the key of its job ({self.job.key})")
        if self.method != self.job.method:
            raise ValueError(f"method {self.method!r} is not that of its job ({self.job.method!r})")
        planned = self.job.stage_recipe
        if (
            self.training is not None
            and planned is not None
            and self.training.epochs != planned.epochs
        ):
            raise ValueError(f"trained {self.training.epochs} of {planned.epochs} epochs")
        if self.training is None and self.test is None:
            raise ValueError("neither trained nor tested")
        return self

    @model_validator(mode="after")
    def _one_value_a_class(self) -> Self:
        classes = self.job.dataset.classes
        shifted = self.shifted.tests if self.shifted else ()
        for what, values in (
            ("train_counts", self.split.train_counts),
            ("longtailed_counts", self.split.longtailed_counts),
            ("class_names", self.split.class_names),
            ("totals", self.test.totals if self.test else None),
            ("training hits", self.training.hits if self.training else None),
            ("auxiliary_counts", self.split.auxiliary_counts),
            *((f"totals of {test.shift.title}", test.totals) for test in shifted),
        ):
            if values is not None and len(values) != classes:
                raise ValueError(f"{what} has {len(values)} values for {classes} classes")
        return self

    @model_validator(mode="after")
    def _images_of_its_job(self) -> Self:
        bad = self.job.dataset.bad_images
        if self.split.bad_images != (bad.total if bad else 0):
            raise ValueError(f"{self.split.bad_images} bad images, its job has {bad or 'none'}")
        auxiliary = (
            self.job.dataset.auxiliary,
            self.split.auxiliary_hash,
            self.split.auxiliary_counts,
        )
        if len({part is None for part in auxiliary}) > 1:
            raise ValueError(
                "a job has auxiliary images, their hash and their counts, or none of these"
            )
        return self

    @model_validator(mode="after")
    def _training_hits_within_counts(self) -> Self:
        hits = self.training.hits if self.training else None
        if hits is not None and any(map(gt, hits, self.split.train_counts)):
            raise ValueError("training hits of a class are more than its training images")
        return self

    @property
    def accuracy(self) -> Fraction | None:
        """Top-1 accuracy on the test set; None without a test."""
        return None if self.test is None else self.test.accuracy

    @property
    def groups(self) -> tuple[Group, ...]:
        """The shot group of each class, [C]."""
        return class_groups(self.split.longtailed_counts, self.job.dataset.shot_rule)

    def f_measures(self) -> dict[float, Fraction]:
        """Return the open-set F-measure by threshold; empty without an open set."""
        test = self.open_set
        if test is None or self.test is None:
            return {}
        images = sum(self.test.totals)
        counts = zip(test.thresholds, test.right, test.mistaken, strict=True)
        return {t: f_measure(right, images, mistaken) for t, right, mistaken in counts}

    def numbers(self) -> dict[str, object]:
        """Return the values that an equal job must reproduce exactly.

        Exactly means bit for bit, on a CPU with the same number of threads. Labels and notes are
        left out, because variants share jobs, and so are tests between epochs, which are optional.
        """
        values = self.model_dump(mode="json", exclude={"cost", "environment", "grid", "job"})
        if values["training"]:
            del values["training"]["curve"]
        return {**values, "job": self.job.identity()}

    def repeats(self, other: "Record") -> bool:
        """Return whether two records agree in all numbers that both have."""
        return _agree(self.numbers(), other.numbers())


def _agree(one: object, other: object) -> bool:
    """Return whether values are equal, apart from optional fields of one alone."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one == other
    return one.keys() == other.keys() and all(
        name in DERIVED_FIELDS
        or (name in LATER_FIELDS and None in (one[name], other[name]))
        or _agree(one[name], other[name])
        for name in one
    )
