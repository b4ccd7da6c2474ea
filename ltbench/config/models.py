"""Typed, frozen configuration: datasets, recipes, variants, grids.

Every model forbids unknown keys. A field marked `NOTE` describes or locates; it cannot change a
number and so is left out of the job key (`identity`). A field marked `LATER` came after records
were published: its default is what they did, and is left out, so that their keys still hold.
"""

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, to_json

from ltbench.config.codes import Code
from ltbench.config.keys import KEY_LENGTH, PROTOCOL, canonical, mapping_hash
from ltbench.core.types import ClassSubset

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=80)]
PathForm = Annotated[
    str, Field(pattern=r"^([^/{}][^{}]*)?(\{(class|initial|nested|name)\}[^{}]*)+$")
]
Split = Literal["longtailed", "balanced"]
TestedOn = Literal["test", "auxiliary"]
Augment = Literal["none", "flip", "crop", "crop_flip", "resized_crop", "resized_crop_flip"]
Source = Literal[
    "digits",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "svhn",
    "medmnist",
    "tiny_imagenet",
    "food101",
    "fgvc_aircraft",
    "inaturalist2021_mini",
    "image_folder",
    "image_list",
    "official_lists",
]
IN_FILES = ("official_lists", "food101", "fgvc_aircraft", "inaturalist2021_mini")
"""Sources whose images have any size."""

OWN = ("image_folder", "image_list")
"""Sources of the user's own images."""

MAX_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded unless a dataset allows more: PIL's limit."""

NOTE: dict[str, Any] = {"note": True}
LATER: dict[str, Any] = {"later": True}

HOLDOUT = 10
"""Images a class held out where a dataset has no validation images, as many as in meta sets."""


def one_or_many(value: Any) -> Any:
    """Return a tuple of a list or of a lone value."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _as_tuple(value: Any) -> Any:
    """Return a list as a tuple, which strict models ask for."""
    return tuple(value) if isinstance(value, list) else value


ItemT = TypeVar("ItemT")
Listed = Annotated[
    tuple[ItemT, ...], BeforeValidator(_as_tuple, json_schema_input_type=list[ItemT])
]
"""A list, also within what a validator has made of JSON."""

Ratio = Annotated[float, Field(ge=1)]
Ratios = Annotated[
    tuple[Ratio, ...],
    Field(min_length=1),
    BeforeValidator(one_or_many, json_schema_input_type=Ratio | tuple[Ratio, ...]),
]


def refusal(code: Code, message: str) -> PydanticCustomError:
    """Return a validator's error with a code other than `conflict`."""
    return PydanticCustomError("refusal", "{message}", {"code": code, "message": message})


class Model(BaseModel):
    """Frozen configuration model, built on first use."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def identity(self) -> dict[str, Any]:
        """Return the values that can change a number, as plain JSON."""
        return _identity(self, self.model_dump(mode="json"))

    def written(self) -> dict[str, Any]:
        """Return plain JSON values, without unset notes and later fields."""
        return _as_given(self, self.model_dump(mode="json"))


def _as_given(model: Model, values: dict[str, Any]) -> dict[str, Any]:
    for name, _, _ in _marked(type(model)):
        if name not in model.model_fields_set:
            del values[name]
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(inner := getattr(model, name), Model):
            _as_given(inner, value)
    return values


def _identity(model: Model, values: dict[str, Any]) -> dict[str, Any]:
    for name, later, default in _marked(type(model)):
        if not later or getattr(model, name) == default:
            del values[name]
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(inner := getattr(model, name), Model):
            _identity(inner, value)
    return values


@cache
def _marked(model: type[Model]) -> tuple[tuple[str, bool, Any], ...]:
    """Return name, lateness and default of fields marked `NOTE` or `LATER`."""
    found = []
    for name, field in model.model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if marks.keys() & {"note", "later"}:
            found.append((name, "note" not in marks, field.default))
    return tuple(found)


class Spec(Model):
    """Part of a job that many jobs share.

    What is computed from it is kept.
    """

    NOT_KEYED: ClassVar[set[str]] = set()
    """Fields that are not in the keys of its jobs, beside notes."""

    @cached_property
    def key_text(self) -> str:
        """Canonical text of its values in the keys of its jobs."""
        return canonical(_identity(self, self.model_dump(mode="json", exclude=self.NOT_KEYED)))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, and nothing computed from these."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


SpecT = TypeVar("SpecT", bound=Spec)


class SpecPool:
    """Parts of jobs by their JSON, each validated once.

    Thousands of records have a few dozen different ones, with most of a record's models in them. A
    pool is the `context` of strict validations of JSON, and lasts as long as the reading of a
    folder.
    """

    def __init__(self) -> None:
        self._specs: dict[tuple[type[Spec], bytes], Spec] = {}

    def find(self, model: type[SpecT], value: Any) -> SpecT:
        """Return the model of a JSON value, shared by equal ones.

        Raises:
            ValidationError: if it is invalid.
        """
        text = to_json(value)
        spec = self._specs.get((model, text))
        if spec is None:
            spec = self._specs[model, text] = model.model_validate_json(text, strict=True)
        return cast("SpecT", spec)


class _Pooled:
    """Annotation that looks up a `Spec` in the pool.

    Only from strict JSON; all else is validated as without it.
    """

    def __get_pydantic_core_schema__(
        self, source: type[Spec], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def find(value: Any, _: Any, info: ValidationInfo) -> Spec:
            pool = info.context if isinstance(info.context, SpecPool) else SpecPool()
            return pool.find(source, value)

        usual = handler(source)
        pooled = core_schema.with_info_wrap_validator_function(find, usual)
        strict = core_schema.json_or_python_schema(pooled, usual)
        return core_schema.lax_or_strict_schema(usual, strict)


class Normalization(Model):
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std need the same number of values, one per channel")
        return self


class Auxiliary(Model):
    """Labeled images on which methods tune; never those of the test.

    `official_val`: the validation images that the dataset comes with. `train_holdout`: the given
    number of images a class, at most half of a class, taken out of the training images.
    `unused_pool`: as many images a class that neither the long-tailed nor the balanced split keeps.
    """

    source: Literal["official_val", "train_holdout", "unused_pool"]
    per_class: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _number(self) -> Self:
        if (self.source == "official_val") != (self.per_class == 0):
            raise ValueError("train_holdout and unused_pool need per_class, official_val has none")
        return self

    @property
    def id(self) -> str:
        """The source and number, as tables name them: train_holdout(10)."""
        return self.source if self.per_class == 0 else f"{self.source}({self.per_class})"


class ListFile(Model):
    """A text file of paths and class numbers.

    Attributes:
        file: its usual name.
        images: lines that it has.
        blob: git blob id (`git hash-object FILE`) of the official file; without it any will do.
    """

    file: str = Field(min_length=1)
    images: int = Field(ge=1)
    blob: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")


class ListedPart(ListFile):
    """A list of training or test images, and where they lie.

    Attributes:
        paths: forms of a path below the images' root, as in `train/{class}/{name}`; the first is
            that of the official list. `{initial}` is the class's first letter, `{nested}` the class
            with slashes for hyphens.
        archive: what the images come in, for messages.
    """

    paths: tuple[PathForm, ...] = Field(min_length=1)
    archive: str = Field(min_length=1)


class ImageLists(Model):
    """Official lists of a dataset, and the facts to check them against.

    Attributes:
        val: of images among the training ones, which the balanced counterpart leaves out.
        max_per_class, min_per_class: training images of the largest and the smallest class.
        group_sizes: classes with many, a medium number of and few training images.
    """

    train: ListedPart
    test: ListedPart
    val: ListFile | None = None
    max_per_class: int = Field(ge=1)
    min_per_class: int = Field(ge=1)
    group_sizes: tuple[int, int, int] | None = None

    @property
    def files(self) -> dict[str, ListFile]:
        """The lists by part."""
        files: dict[str, ListFile | None] = {
            "train": self.train,
            "val": self.val,
            "test": self.test,
        }
        return {part: file for part, file in files.items() if file is not None}


class BadImages(Model):
    """Images that cannot be decoded, and how the image cache treats them.

    `skip`: the training images were left out, and none is of the test. `report`: all are black.

    Attributes:
        train, test: their numbers.
        hash: SHA-256 of their positions in the dataset.
    """

    on_bad: Literal["skip", "report"]
    train: int = Field(ge=0)
    test: int = Field(0, ge=0)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.total == 0 or (self.on_bad == "skip" and self.test):
            raise ValueError(
                "bad_images needs a number above 0; on_bad skip allows none in the test"
            )
        return self

    @property
    def total(self) -> int:
        """The number of both."""
        return self.train + self.test

    def __str__(self) -> str:
        """Return the number in words, for footnotes: 3 images skipped."""
        what = "skipped" if self.on_bad == "skip" else "shown black"
        of_test = f" ({self.test} of the test)" if self.test else ""
        return f"{self.total} image{'' if self.total == 1 else 's'} {what}{of_test}"


class DatasetSpec(Spec):
    """A dataset, and the long-tailed split that is sampled from it.

    Attributes:
        fingerprint: SHA-256 of images and labels (see data/sources.py). If it is set, jobs are
            planned without the images, and other images are refused. With `official_lists` it is
            made of their blob ids.
        full_train_images: size of the dataset that the official lists were drawn from. The balanced
            counterpart may use these images; a natural dataset without them has no counterpart.
        no_balanced_counterpart: why there is none.
        auxiliary: images to tune on; in a job that does not use any it is None.
        open_set: a dataset of the same image shape with disjoint classes, for open-set metrics.
        bad_images: undecodable images. By default those of the local cache; a job is refused where
            the cache excludes others.
        train_list, test_list, val_list: lists below `folder` for the source `image_list`; without a
            `test_list` the training list has both parts.
        sizes: `any` reads images from their files, for recipes that resize them; `equal` images
            have the `image_size` and are kept in memory.
        exif: whether photographs with an Exif orientation are turned upright, or kept as stored.
            Files of descriptions default to `upright` for the sources of `OWN`; the benchmarks of
            the field were all read as stored.
        max_pixels: of the largest image that is decoded.
        class_order: the classes from most to fewest images of a split that an imbalance type makes:
            in order of their indices, as in the field's benchmarks, or of their images, the first
            of equal ones first. Defaults as those of `exif`.
        tested_on: the test images, or the `auxiliary` images, to choose hyper-parameters by.
    """

    name: Name
    title: str = Field(json_schema_extra=NOTE)
    source: Source
    folder: str | None = Field(None, json_schema_extra=NOTE)
    train_folder: str = "train"
    test_folder: str = "test"
    classes: int = Field(ge=2)
    image_size: int = Field(ge=1)
    channels: Literal[1, 3] = 3
    normalization: Normalization
    test_per_class: int | None = Field(None, ge=1)
    imbalance_type: Literal["natural", "exponential", "pareto", "step"]
    imbalance_ratio: float | None = Field(None, ge=1)
    max_per_class: int | None = Field(None, ge=1)
    shot_rule: Literal["shots", "rank_thirds"] = "shots"
    split_seed: int = Field(0, ge=0)
    fingerprint: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    val_folder: str | None = Field(None, json_schema_extra=LATER)
    auxiliary: Auxiliary | None = Field(None, json_schema_extra=LATER)
    bad_images: BadImages | None = Field(None, json_schema_extra=LATER)
    open_set: Name | None = Field(None, json_schema_extra=NOTE)
    official_lists: ImageLists | None = Field(None, json_schema_extra=NOTE)
    full_train_images: int | None = Field(None, ge=1, json_schema_extra=LATER)
    no_balanced_counterpart: str | None = Field(None, json_schema_extra=NOTE)
    train_list: str | None = Field(None, json_schema_extra=NOTE)
    test_list: str | None = Field(None, json_schema_extra=NOTE)
    val_list: str | None = Field(None, json_schema_extra=NOTE)
    sizes: Literal["equal", "any"] = Field("equal", json_schema_extra=NOTE)
    exif: Literal["keep", "upright"] = Field("keep", json_schema_extra=LATER)
    max_pixels: int = Field(MAX_PIXELS, ge=1, json_schema_extra=NOTE)
    class_order: Literal["index", "size"] = Field("index", json_schema_extra=LATER)
    tested_on: TestedOn = Field("test", json_schema_extra=LATER)

    @field_validator("class_order")
    @classmethod
    def _of_an_imbalance_type(cls, value: Any, info: ValidationInfo) -> Any:
        return "index" if info.data.get("imbalance_type") == "natural" else value

    @model_validator(mode="after")
    def _own_validation_images(self) -> Self:
        if self.val_folder in (self.train_folder, self.test_folder):
            raise ValueError("val_folder must differ from train_folder and test_folder")
        official = self.auxiliary is not None and self.auxiliary.source == "official_val"
        if official and not self.has_validation_images:
            raise ValueError(
                "official_val needs validation images: give a val_folder or a val_list"
            )
        return self

    @model_validator(mode="after")
    def _lists(self) -> Self:
        if (self.source == "official_lists") != (self.official_lists is not None):
            raise ValueError('official_lists and the source "official_lists" need each other')
        if self.official_lists is not None and self.imbalance_type != "natural":
            raise ValueError("official_lists need imbalance_type natural")
        if self.official_lists is None and self.full_train_images is not None:
            raise ValueError('full_train_images needs the source "official_lists"')
        return self

    @model_validator(mode="after")
    def _own_images(self) -> Self:
        if (self.source == "image_list") != (self.train_list is not None):
            raise ValueError('train_list and the source "image_list" need each other')
        if self.train_list is None and (self.test_list or self.val_list):
            raise ValueError('test_list and val_list need the source "image_list"')
        if self.sizes == "any" and self.source not in OWN:
            raise ValueError('sizes any needs the source "image_folder" or "image_list"')
        if self.bad_images is not None and not self.any_size:
            raise ValueError("bad_images needs images of any size; all others must be readable")
        return self

    @model_validator(mode="after")
    def _profile_and_ratio(self) -> Self:
        if (self.imbalance_type == "natural") != (self.imbalance_ratio is None):
            raise ValueError("imbalance_type natural has no imbalance_ratio, all others need one")
        if len(self.normalization.mean) != self.channels:
            raise ValueError(
                f"normalization has {len(self.normalization.mean)} values for "
                f"{self.channels} channels"
            )
        return self

    @property
    def has_validation_images(self) -> bool:
        """Whether the dataset comes with validation images."""
        listed = self.official_lists is not None and self.official_lists.val is not None
        own = self.val_folder is not None or self.val_list is not None
        return own or listed or self.source == "medmnist"

    @property
    def any_size(self) -> bool:
        """Whether images have any size and stay in their files."""
        return self.source in IN_FILES or self.sizes == "any"

    @property
    def auxiliary_or_default(self) -> Auxiliary:
        """The auxiliary images for methods that need some: official or held-out."""
        if self.auxiliary is not None:
            return self.auxiliary
        if self.has_validation_images:
            return Auxiliary(source="official_val")
        return Auxiliary(source="train_holdout", per_class=HOLDOUT)

    @property
    def has_balanced_counterpart(self) -> bool:
        """Whether a balanced counterpart can be made."""
        return self.imbalance_type != "natural" or self.full_train_images is not None

    @property
    def id(self) -> str:
        """Name of the split family, as in folders and tables: cifar100_r100."""
        parts = [self.name]
        if self.imbalance_ratio is not None:
            if self.imbalance_type != "exponential":
                parts.append(self.imbalance_type)
            parts.append(f"r{self.imbalance_ratio:g}")
        if self.tested_on == "auxiliary":
            parts.append("on_auxiliary")
        return "_".join(parts)

    @property
    def test_name(self) -> str:
        """Name of the images to test on; a test set is any ratio's."""
        return self.name if self.tested_on == "test" else self.id


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
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")

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
    title: str = Field(json_schema_extra=NOTE)
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
    def _of_any_size(self) -> Self:
        resized = self.resize_shorter_side is not None
        if resized != self.augment.startswith("resized_crop"):
            raise ValueError("resize_shorter_side and augment resized_crop need each other")
        if (self.color_jitter or self.jpeg_quality) and not resized:
            raise ValueError("color_jitter and jpeg_quality need a resize_shorter_side")
        return self

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


class Variant(Model):
    """Row of a table: label, method, hyper-parameters, and init weights.

    Attributes:
        recipe: of its own; None for those of the grid.
        recipe_overrides: fields of its recipe's stages to change, by path:
            `stage1.optimizer.lr`.
        sweep: values of hyper-parameters, and of fields as in `recipe_overrides`. When a grid is
            read, the variant becomes one for each combination of them, its trials.
        trial_of: label of the variant whose trial it is.
        trials: keys of the trials by which the values of a tuned variant were chosen.
    """

    label: str = Field(min_length=1, max_length=80)
    method: Name
    hparams: dict[str, Any] = Field(default_factory=dict)
    init_from: str | None = None
    recipe: Name | None = None
    recipe_overrides: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Annotated[Listed[Any], Field(min_length=1)]] = Field(default_factory=dict)
    trial_of: str | None = None
    trials: Listed[str] = ()

    @property
    def is_default(self) -> bool:
        """Whether it changes neither its method's values nor the grid's recipe."""
        return not (self.hparams or self.recipe or self.recipe_overrides)

    @property
    def training_settings(self) -> tuple[Any, ...]:
        """What its jobs depend on: all but the label and its origin."""
        own = (self.hparams, self.recipe, self.recipe_overrides)
        return (self.method, self.init_from, *own)

    @field_validator("label")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise refusal("malformed", "must be printable, without space around it")
        return value


def _bare_methods(value: Any) -> Any:
    """Return variants, with bare names of methods as variants."""
    if not isinstance(value, list | tuple):
        return value
    return tuple({"label": v, "method": v} if isinstance(v, str) else v for v in value)


def _distinct(what: str) -> AfterValidator:
    """Return a validator that refuses duplicates; `what` names an entry."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = (value.label if isinstance(value, Variant) else value for value in values)
        doubles = sorted(str(name) for name, times in Counter(names).items() if times > 1)
        if doubles:
            raise refusal("duplicate", f"{what} given twice: {', '.join(doubles)}")
        return values

    return AfterValidator(check)


class VariantSetChoice(Model):
    """Entry of a list of variants that stands for a variant set."""

    set: Name


class VariantSet(Model):
    """Variants that several grids share: a file of configs/variants."""

    name: Name
    variants: Annotated[
        tuple[Variant, ...],
        BeforeValidator(_bare_methods, json_schema_input_type=tuple[str | Variant, ...]),
        _distinct("label"),
        Field(min_length=1),
    ]


class DatasetChoice(Model):
    """Dataset of a grid, and fields to impose on it."""

    name: Name
    imbalance_ratio: Ratios | None = None
    imbalance_type: Literal["natural", "exponential", "pareto", "step"] | None = None
    tested_on: TestedOn | None = None


class Grid(Model):
    """Datasets x recipes x splits x seeds x variants, sets expanded.

    Attributes:
        headline: whether a README begins with this grid, even if another one has more results.
        findings: whether findings are tested on it.
    """

    name: Name
    title: str
    headline: bool = False
    findings: bool = True
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    recipes: Annotated[tuple[Name, ...], _distinct("recipe")] = Field(min_length=1)
    splits: Annotated[tuple[Split, ...], _distinct("split")] = Field(("longtailed",), min_length=1)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], _distinct("seed")] = Field(
        (0,), min_length=1
    )
    variants: Annotated[
        tuple[Variant, ...],
        BeforeValidator(
            _bare_methods,
            json_schema_input_type=str | tuple[str | VariantSetChoice | Variant, ...],
        ),
        _distinct("label"),
        Field(min_length=1),
    ]

    @field_validator(
        "datasets", mode="before", json_schema_input_type=tuple[str | DatasetChoice, ...]
    )
    @classmethod
    def _bare_datasets(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple({"name": v} if isinstance(v, str) else v for v in value)


class Job(Model):
    """One stage of a variant on a split with a seed.

    The unit that is trained and has a record.

    `label`, `recipe_name` and `stage` describe; the number depends on the rest. `depends_on` holds
    the keys of the jobs whose weights it needs, the one it continues from first. A job on a
    `subset` of the classes has no others: it is trained on their images alone and predicts no
    other. A method of a plugin has the hash of its source beside its version.
    """

    SPECS: ClassVar[set[str]] = {"dataset", "recipe", "stage_recipe"}
    """The parts that many jobs share."""

    label: str = Field(json_schema_extra=NOTE)
    recipe_name: str = Field(json_schema_extra=NOTE)
    dataset: Annotated[DatasetSpec, _Pooled()]
    split: Split
    method: Name
    version: int = Field(ge=1)
    plugin_hash: str | None = Field(None, json_schema_extra=LATER)
    stage: Name
    hparams: dict[str, Any]
    recipe: Annotated[Recipe, _Pooled()]
    stage_recipe: Annotated[StageRecipe, _Pooled()] | None
    seed: int = Field(ge=0)
    depends_on: tuple[str, ...] = ()
    subset: ClassSubset = Field("all", json_schema_extra=LATER)
    overrides: tuple[str, ...] = Field((), json_schema_extra=NOTE)

    def specs(self) -> dict[str, Spec | None]:
        """Return the parts that many jobs share, by field."""
        return {
            "dataset": self.dataset,
            "recipe": self.recipe,
            "stage_recipe": self.stage_recipe,
        }

    @cached_property
    def key(self) -> str:
        """Hash of what can change the number."""
        return mapping_hash(self.key_texts())[:KEY_LENGTH]

    def key_texts(self) -> dict[str, str]:
        """Return the canonical texts of the settings by name, to be hashed."""
        own = _identity(self, self.model_dump(mode="json", exclude=self.SPECS))
        texts = {name: canonical(value) for name, value in own.items()}
        for name, spec in self.specs().items():
            texts[name] = canonical(None) if spec is None else spec.key_text
        return {"protocol": canonical(PROTOCOL), **texts}

    def settings(self) -> dict[str, Any]:
        """Return the values that the key hashes, as plain JSON."""
        return {name: json.loads(text) for name, text in self.key_texts().items()}

    @property
    def ad_hoc(self) -> bool:
        """Whether `--set` changed it: its record is shown, never ranked."""
        return bool(self.overrides)

    @property
    def title(self) -> str:
        """One line that identifies the job for people."""
        where = f"{self.dataset.id} {self.split} seed {self.seed}"
        return f"{self.label} [{self.stage}] on {where}, {self.recipe_name}"
