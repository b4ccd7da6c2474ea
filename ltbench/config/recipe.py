"""A recipe: network, augmentation and precision, and how each stage is optimized."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ltbench.config.base import (
    HEX64,
    LATER,
    NOTE,
    Model,
    Name,
    Refused,
    Spec,
    Title,
    refusal,
    refuse_all,
)

Augment = Literal["none", "flip", "crop", "crop_flip", "resized_crop", "resized_crop_flip"]


def _only_with(kind: str, model: type[Model], value: Any, info: ValidationInfo) -> Any:
    """Refuse a field without effect for the kind of a model."""
    given = info.data.get("kind", kind)
    if given == kind:
        return value
    default = model.model_fields[str(info.field_name)].default
    if value != default:
        without = "[]" if default == () else default
        raise refusal("no-effect", f'has no effect with kind "{given}", set it to {without}')
    return value


class Optimizer(Model):
    """SGD with momentum, as in every paper of the field.

    `backbone_lr` is the rate of the backbone, relative to that of the rest.
    """

    lr: float = Field(gt=0)
    backbone_lr: float = Field(1.0, gt=0, json_schema_extra=LATER)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    nesterov: bool = False

    @field_validator("nesterov")
    @classmethod
    def _of_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("momentum") == 0:
            raise refusal("conflict", "needs a momentum above 0")
        return value


class Schedule(Model):
    """Learning-rate factor of an epoch e in 1..epochs.

    Linear warm-up `e / warmup` up to and including the warm-up epochs; then `step`: times `gamma`
    after each milestone epoch; `cosine`: half a cosine from 1 to 0 over all epochs, by e - 1;
    `linear`: from 1 down to 0 one epoch after the last.
    """

    kind: Literal["constant", "step", "cosine", "linear"]
    warmup: int = Field(0, ge=0)
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = ()
    gamma: float = Field(0.1, gt=0)

    @field_validator("milestones", "gamma")
    @classmethod
    def _of_steps(cls, value: Any, info: ValidationInfo) -> Any:
        return _only_with("step", cls, value, info)

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(value):
            raise refusal("conflict", "must be in ascending order")
        return value


DEFERRED = "deferred_from_epoch"


def scaled_stage(stage: Mapping[str, Any], epochs: Any) -> dict[str, Any]:
    """Return a stage's values, its schedule scaled to other epochs.

    Warm-up, milestones and the deferred epoch keep their share of the epochs, rounded down;
    milestones that would come before the first epoch are left out.

    Args:
        stage: valid values of a `StageRecipe`.
        epochs: its new number of epochs; one that is invalid scales nothing.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        return {**stage, "epochs": epochs}

    def scaled(epoch: int) -> int:
        return epoch * epochs // int(stage["epochs"])

    schedule = dict(stage["schedule"])
    if "warmup" in schedule:
        schedule["warmup"] = scaled(schedule["warmup"])
    if "milestones" in schedule:
        schedule["milestones"] = [at for m in schedule["milestones"] if (at := scaled(m)) > 0]
    result = {**stage, "epochs": epochs, "schedule": schedule}
    if stage.get(DEFERRED) is not None:
        result[DEFERRED] = scaled(stage[DEFERRED])
    return result


class StageRecipe(Spec):
    """Optimization settings of a stage.

    Attributes:
        deferred_from_epoch: completed epochs after which deferred switches (DRW, DRS) turn on;
            default: four fifths of the epochs, as in LDAM's paper.
        cached_features: extract the features of a frozen backbone once, with the test transform,
            and train the classifier on them, without augmentation. No effect if the backbone or its
            BatchNorm is trained, as in cRT and LWS unless their `update_bn` is false.
    """

    epochs: int = Field(ge=1)
    optimizer: Optimizer
    schedule: Schedule
    deferred_from_epoch: int | None = Field(None, ge=0)
    cached_features: bool = Field(False, json_schema_extra=LATER)

    @model_validator(mode="after")
    def _inside(self) -> Self:
        late = [m for m in self.schedule.milestones if m >= self.epochs]
        problems = []
        if self.schedule.warmup > self.epochs:
            problems.append(f"warmup ({self.schedule.warmup}) is longer than {self.epochs} epochs")
        if late:
            problems.append(f"milestones {late} are not before the last of {self.epochs} epochs")
        if self.deferred_from_epoch is not None and self.deferred_from_epoch > self.epochs:
            problems.append(
                f"deferred_from_epoch ({self.deferred_from_epoch}) is after the last "
                f"of {self.epochs} epochs"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def scaled(self, epochs: float, lr: float) -> Self:
        """Return the settings with scaled epochs and learning rate.

        At least one epoch; the schedule moves along, see `scaled_stage`.
        """
        if epochs == lr == 1:
            return self
        values = self.model_dump() | {DEFERRED: self.first_deferred_epoch}
        values = scaled_stage(values, max(round(self.epochs * epochs), 1))
        values["optimizer"]["lr"] *= lr
        return type(self)(**values)

    @property
    def first_deferred_epoch(self) -> int:
        """Completed epochs when deferred switches turn on."""
        return (
            self.epochs * 4 // 5 if self.deferred_from_epoch is None else self.deferred_from_epoch
        )


class Policy(Model):
    """Augmentation policy, applied after crop and flip, before normalization.

    `num_ops` operations of `magnitude` 0..30 an image are RandAugment's, whose defaults are those
    of its authors for ResNet-50 on ImageNet. `cutout` is the side in pixels of a square set to 0.
    """

    kind: Literal["none", "randaugment", "autoaugment_cifar10", "autoaugment_imagenet"] = "none"
    num_ops: int = Field(default=2, ge=1)
    magnitude: int = Field(default=9, ge=0, le=30)
    cutout: int = Field(default=0, ge=0)

    @field_validator("num_ops", "magnitude")
    @classmethod
    def _of_randaugment(cls, value: Any, info: ValidationInfo) -> Any:
        return _only_with("randaugment", cls, value, info)

    @field_validator("cutout")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise refusal("out-of-range", "must be an even number of pixels")
        return value


class Pretrained(Model):
    """Pretrained weights of a backbone: a timm tag or a file.

    The tag is what follows the dot in timm's names: `resnet152.tv_in1k`. The file is a state dict
    with timm's names, which for ResNets are torchvision's: `.safetensors`, or of `torch.save`. It
    is looked for below the data root, and counts by its SHA-256, not by its name.
    """

    tag: Name | None = None
    file: str | None = Field(None, json_schema_extra=NOTE)
    sha256: str | None = Field(None, pattern=HEX64)

    @model_validator(mode="after")
    def _tag_or_file(self) -> Self:
        if (self.tag is None) != (self.file is not None) or bool(self.file) != bool(self.sha256):
            raise ValueError("pretrained needs a tag, or a file with its sha256")
        return self


class Throughput(Model):
    """Measured images per second of a stage, for the cost in `plan`."""

    hardware: str
    stage: Literal["stage1", "stage2"] = "stage1"
    images_per_second: float = Field(gt=0)


class Recipe(Spec):
    """Network, augmentation and precision, and how each stage is optimized.

    `batch_size` is global: each of W devices takes batch_size / W images, and W must divide it.
    `stage1` trains a network, `stage2` what is built on a trained one (decoupled classifiers).

    `precision` is exact single precision, TF32 on GPUs, bfloat16 autocast or double precision.
    `compile: auto` compiles the backbone where the stage is long enough to pay for it.
    `fold_batchnorm` tests with BatchNorm folded into the convolutions. `eval_every_n_epochs` adds a
    test every so many epochs, for curves; the result is always that of the last epoch.
    `eval_batch_size` is the batch size of the test, which predictions do not depend on: by default
    125 on a CPU, where such batches fit the caches, and 500 on a GPU.

    `resize_shorter_side` is for images of any size, which are first resized to it. A resized crop
    then is resized to the `image_size` of the dataset; the test uses the center crop of that size.
    With a `jpeg_quality` resized images are JPEG-compressed, as a small cache stores them.
    `color_jitter` j changes brightness, contrast and saturation by factors in 1 - j .. 1 + j.
    """

    NOT_KEYED: ClassVar[set[str]] = {"stage1", "stage2"}  # a key has those of the job's own stage

    name: Name = Field(json_schema_extra=NOTE)
    title: Title = Field(json_schema_extra=NOTE)
    network: Name
    pretrained: Pretrained | None = Field(None, json_schema_extra=LATER)
    norm: Literal["batch", "group"] = "batch"
    batch_size: int = Field(ge=1)
    precision: Literal["fp32", "tf32", "bf16", "fp64"] = "fp32"
    channels_last: bool = False
    compile: Literal["off", "on", "auto"] = Field("off", json_schema_extra=LATER)
    fold_batchnorm: bool = Field(False, json_schema_extra=LATER)
    augment: Augment = "crop_flip"
    crop_padding: int = Field(4, ge=0)
    policy: Policy = Field(Policy(), json_schema_extra=LATER)
    resize_shorter_side: int | None = Field(None, ge=1, json_schema_extra=LATER)
    jpeg_quality: int | None = Field(None, ge=1, le=100, json_schema_extra=LATER)
    color_jitter: float = Field(0.0, ge=0, lt=1, json_schema_extra=LATER)
    eval_batch_size: int | None = Field(None, ge=1, json_schema_extra=NOTE)
    eval_every_n_epochs: int | None = Field(None, ge=1, json_schema_extra=NOTE)
    stage1: StageRecipe
    stage2: StageRecipe
    throughput: tuple[Throughput, ...] = Field((), json_schema_extra=NOTE)

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        refuse_all(self._refused())
        return self

    def _refused(self) -> Iterator[Refused]:
        """Yield what does not go together."""
        resized = self.resize_shorter_side is not None
        if resized != self.augment.startswith("resized_crop"):
            message = "resize_shorter_side and augment resized_crop need each other"
            yield "resize_shorter_side" if resized else "augment", "conflict", message
        for name in ("color_jitter", "jpeg_quality"):
            if getattr(self, name) and not resized:
                yield name, "conflict", "needs a resize_shorter_side"

    def test_batch_size(self, *, on_gpu: bool) -> int:
        """Return the batch size of a test on a kind of device."""
        return self.eval_batch_size or (500 if on_gpu else 125)

    @property
    def padding(self) -> int:
        """Pixels that a training image may be shifted by to each side."""
        return self.crop_padding if self.augment in ("crop", "crop_flip") else 0

    @property
    def horizontal_flip(self) -> bool:
        """Whether training images are mirrored at random."""
        return self.augment.endswith("flip")
