"""Typed, frozen configuration: datasets, recipes, variants, grids.

Every model forbids unknown keys. A field marked `NOTE` describes or locates; it cannot change a
number and so is left out of the job key (`identity`). A field marked `LATER` came after records
were published: its default is what they did, and is left out, so that their keys still hold.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ltbench.config.codes import Code
from ltbench.config.keys import KEY_LENGTH, PROTOCOL, content_hash
from ltbench.core.types import ClassSubset

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=80)]
PathForm = Annotated[
    str, Field(pattern=r"^([^/{}][^{}]*)?(\{(class|initial|nested|name)\}[^{}]*)+$")
]
Split = Literal["longtailed", "balanced"]
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

NOTE: dict[str, Any] = {"note": True}
LATER: dict[str, Any] = {"later": True}

HOLDOUT = 10
"""Images a class held out where a dataset has no validation images, as many as in meta sets."""


def one_or_many(value: Any) -> Any:
    """Return a tuple of a list or of a lone value."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Ratio = Annotated[float, Field(ge=1)]
Ratios = Annotated[
    tuple[Ratio, ...],
    Field(min_length=1),
    BeforeValidator(one_or_many, json_schema_input_type=Ratio | tuple[Ratio, ...]),
]


def refusal(code: Code, message: str) -> PydanticCustomError:
    """Return a validator's error with a code; that of a ValueError is `conflict`."""
    return PydanticCustomError("refusal", "{message}", {"code": code, "message": message})


class Model(BaseModel):
    """A frozen configuration model, built on first use so that importing it is cheap."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def identity(self) -> dict[str, Any]:
        """Return what can change a number, as plain JSON values."""
        return _what_counts(self, self.model_dump(mode="json"))

    def written(self) -> dict[str, Any]:
        """Return its plain JSON values, without notes and later fields that it was made without."""
        return _as_made(self, self.model_dump(mode="json"))


def _as_made(model: Model, values: dict[str, Any]) -> dict[str, Any]:
    for name, _, _ in _marked(type(model)):
        if name not in model.model_fields_set:
            del values[name]
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(inner := getattr(model, name), Model):
            _as_made(inner, value)
    return values


def _what_counts(model: Model, values: dict[str, Any]) -> dict[str, Any]:
    for name, later, default in _marked(type(model)):
        if not later or getattr(model, name) == default:
            del values[name]
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(inner := getattr(model, name), Model):
            _what_counts(inner, value)
    return values


@cache
def _marked(model: type[Model]) -> tuple[tuple[str, bool, Any], ...]:
    """Return the fields that are notes or came later: name, whether it came later, default."""
    found = []
    for name, field in model.model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if marks.keys() & {"note", "later"}:
            found.append((name, "note" not in marks, field.default))
    return tuple(found)


class Normalization(Model):
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std need one value a channel each")
        return self


class Auxiliary(Model):
    """Labelled images on which methods choose what they leave open; never those of the test.

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
    """The lists that make a dataset, and the facts that they are checked against.

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
        """The lists there are, by part."""
        files: dict[str, ListFile | None] = {
            "train": self.train,
            "val": self.val,
            "test": self.test,
        }
        return {part: file for part, file in files.items() if file is not None}


class BadImages(Model):
    """Images that cannot be decoded, and what became of them in the cache that jobs read.

    `skip`: the training images were left out, and none is of the test. `report`: all are black.

    Attributes:
        train, test: how many there are.
        hash: SHA-256 of their positions in the dataset.
    """

    on_bad: Literal["skip", "report"]
    train: int = Field(ge=0)
    test: int = Field(0, ge=0)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.total == 0 or (self.on_bad == "skip" and self.test):
            raise ValueError("bad images are some, and with skip none of the test")
        return self

    @property
    def total(self) -> int:
        """How many there are of both."""
        return self.train + self.test

    def __str__(self) -> str:
        """Say how many there are, as footnotes and messages do: 3 images skipped."""
        what = "skipped" if self.on_bad == "skip" else "shown black"
        of_test = f" ({self.test} of the test)" if self.test else ""
        return f"{self.total} image{'' if self.total == 1 else 's'} {what}{of_test}"


class DatasetSpec(Model):
    """Facts of a dataset and of the long-tailed split made of it.

    `fingerprint` is the SHA-256 of the images and labels (data/sources.py says over what). Pinned
    in a configuration it lets jobs be planned without the images, and refuses other images. For
    `lists` it is made of their blob ids (data/lists.py): who pins these pins the fingerprint.

    `full_train_images` are the images that lists were drawn from, where the balanced counterpart
    may take more; without them a dataset taken as it is has no balanced counterpart, and
    `no_balanced_counterpart` may say why. `auxiliary` is for jobs that need such images alone; in
    the dataset of any other it is None. `open_set` names a dataset of images of equal size that
    show none of its classes, by and large: where they are there, a test also says how many of them
    are taken for known.

    `bad_images` are found in the caches of the machine that makes a plan, unless the configuration
    pins them, and a job trains on no others: where its cache left out other images it is refused.

    `train_list` and the like are lists of one's own images for the source `image_list`, below the
    folder; without a `test_list` the training list has both. `sizes: any` leaves the images of an
    `image_folder` or `image_list` in their files, for recipes that resize them; `equal` ones have
    the `image_size` and are kept in memory.
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

    @model_validator(mode="after")
    def _own_validation_images(self) -> Self:
        if self.val_folder in (self.train_folder, self.test_folder):
            raise ValueError("val_folder is a folder of its own, not that of training or test")
        wanted = self.auxiliary is not None and self.auxiliary.source == "official_val"
        if wanted and not self.has_validation_images:
            raise ValueError(
                "official_val needs a val_folder, a val_list or a list of validation images, "
                "this dataset has none"
            )
        return self

    @model_validator(mode="after")
    def _lists(self) -> Self:
        if (self.source == "official_lists") != (self.official_lists is not None):
            raise ValueError('lists are for the source "official_lists", and needed there')
        if self.official_lists is not None and self.imbalance_type != "natural":
            raise ValueError("images of lists are taken as they are: the profile is natural")
        if self.official_lists is None and self.full_train_images is not None:
            raise ValueError('full_train_images are for the source "official_lists"')
        return self

    @model_validator(mode="after")
    def _own_images(self) -> Self:
        if (self.source == "image_list") != (self.train_list is not None):
            raise ValueError('a train_list is for the source "image_list", and needed there')
        if self.train_list is None and (self.test_list or self.val_list):
            raise ValueError('a test_list or val_list is for the source "image_list"')
        if self.sizes == "any" and self.source not in ("image_folder", "image_list"):
            raise ValueError('images of any size are for the source "image_folder" or "image_list"')
        if self.bad_images is not None and not self.any_size:
            raise ValueError("bad_images are left out of images of any size; of others none may be")
        return self

    @model_validator(mode="after")
    def _profile_and_ratio(self) -> Self:
        if (self.imbalance_type == "natural") != (self.imbalance_ratio is None):
            raise ValueError("a natural profile has no ratio, every other profile needs one")
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
        """The auxiliary images of methods that need some: official ones before held-out ones."""
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
        if self.imbalance_ratio is None:
            return self.name
        kind = "" if self.imbalance_type == "exponential" else f"_{self.imbalance_type}"
        return f"{self.name}{kind}_r{self.imbalance_ratio:g}"


def _only_with(kind: str, model: type[Model], value: Any, info: ValidationInfo) -> Any:
    """Refuse a field that a model's kind does not use, such as an inherited one; see `extends`."""
    field, given = str(info.field_name), info.data.get("kind", kind)
    if given != kind and value != model.model_fields[field].default:
        raise refusal("no-effect", f'is for the kind "{kind}", here it is "{given}"')
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
    once after each milestone epoch; `cosine`: half a cosine from 1 to 0 over all epochs, by e - 1.
    """

    kind: Literal["constant", "step", "cosine"]
    warmup: int = Field(0, ge=0)
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = ()
    gamma: float = Field(0.1, gt=0)

    @field_validator("milestones", "gamma")
    @classmethod
    def _of_steps(cls, value: Any, info: ValidationInfo) -> Any:
        return _only_with("step", cls, value, info)


class StageRecipe(Model):
    """Describe how one stage is optimized.

    `deferred_from_epoch` is the number of epochs after which deferred switches (DRW, DRS) turn on;
    without it they turn on after four fifths of the epochs, as in the paper of LDAM. With
    `cached_features` a frozen backbone sees each training image once, as a test would, and what is
    trained on top of it learns from these features, without augmentation. Nothing changes where the
    backbone trains, or only its BatchNorm is updated, as in cRT and LWS unless their `update_bn` is
    false.
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

    @property
    def first_deferred_epoch(self) -> int:
        """Epochs completed when deferred switches turn on."""
        return (
            self.epochs * 4 // 5 if self.deferred_from_epoch is None else self.deferred_from_epoch
        )


class Policy(Model):
    """What training images go through after crop and flip, before they are normalized.

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
            raise refusal("out-of-range", "a square's side must be an even number of pixels")
        return value


class Pretrained(Model):
    """Weights that a backbone begins with: those of a timm tag, or of a safetensors file.

    The tag is what follows the dot in timm's names: `resnet152.tv_in1k`. The file is looked for
    below the data root; it counts by its SHA-256, not by its name.
    """

    tag: Name | None = None
    file: str | None = Field(None, json_schema_extra=NOTE)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _tag_or_file(self) -> Self:
        if (self.tag is None) != (self.file is not None) or bool(self.file) != bool(self.sha256):
            raise ValueError("pretrained weights are a tag, or a file with its sha256")
        return self


class Throughput(Model):
    """Images a second that a stage of a recipe was measured at, for the cost shown by `plan`."""

    hardware: str
    stage: Literal["stage1", "stage2"] = "stage1"
    images_per_second: float = Field(gt=0)


class Recipe(Model):
    """Network, data order and arithmetic, and how the first and the later stages are optimised.

    `batch_size` is global: each of W devices takes batch_size / W images, and W must divide it.
    `stage1` trains a network, `stage2` what is built on a trained one (decoupled classifiers).

    `precision` is exact single precision, TF32 on GPUs, bfloat16 autocast or double precision.
    `compile: auto` compiles the backbone where the stage is long enough to pay for it.
    `fold_batchnorm` tests with BatchNorm folded into the convolutions. `eval_every_n_epochs` adds a
    test every so many epochs, for curves; the result is that of the last epoch in any case.
    `eval_batch_size` is of a test, on which predictions do not depend: by default 125 images on a
    CPU, whose caches they fit, and 500 on a GPU.

    `resize_shorter_side` is for images of any size, which are first resized to it. A resized crop
    then is a random part, made as large as the dataset's images; the test sees the middle of that
    size. With a `jpeg_quality` what was resized goes through JPEG, as a small cache has it.
    `color_jitter` j changes brightness, contrast and saturation by factors in 1 - j .. 1 + j.
    """

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
            raise ValueError(
                "a resize_shorter_side goes with a resized_crop, and a resized_crop with it"
            )
        if (self.color_jitter or self.jpeg_quality) and not resized:
            raise ValueError(
                "color_jitter and jpeg_quality are for images with a resize_shorter_side"
            )
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
    """A row of a table: a label, a method with its hyper-parameters, and where it starts."""

    label: str = Field(min_length=1, max_length=80)
    method: Name
    hparams: dict[str, Any] = Field(default_factory=dict)
    init_from: str | None = None
    recipe: Name | None = None

    @field_validator("label")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise refusal("malformed", "a label is printable text without space around it")
        return value


def _bare_methods(value: Any) -> Any:
    """Return the variants of a list in which a bare name is the method under its own name."""
    if not isinstance(value, list | tuple):
        return value
    return tuple({"label": v, "method": v} if isinstance(v, str) else v for v in value)


def _check_distinct(**listed: Sequence[Any]) -> None:
    """Refuse values that a list holds twice, by what they are called."""
    for what, values in listed.items():
        doubles = sorted(str(value) for value, times in Counter(values).items() if times > 1)
        if doubles:
            raise refusal("duplicate", f"{what} given twice: {', '.join(doubles)}")


class VariantSetChoice(Model):
    """A variant set of a grid, in the place of its variants."""

    set: Name


class VariantSet(Model):
    """Variants that several grids have, as a file of configs/variants."""

    name: Name
    variants: Annotated[
        tuple[Variant, ...],
        BeforeValidator(_bare_methods, json_schema_input_type=tuple[str | Variant, ...]),
        Field(min_length=1),
    ]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _check_distinct(label=[v.label for v in self.variants])
        return self


class DatasetChoice(Model):
    """A dataset of a grid, with the imbalance ratios (and profile) to impose on it."""

    name: Name
    imbalance_ratio: Ratios | None = None
    imbalance_type: Literal["natural", "exponential", "pareto", "step"] | None = None


class Grid(Model):
    """Datasets x recipes x splits x seeds x variants, those of variant sets included."""

    name: Name
    title: str
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    recipes: tuple[Name, ...] = Field(min_length=1)
    splits: tuple[Split, ...] = Field(("longtailed",), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    variants: Annotated[
        tuple[Variant, ...],
        BeforeValidator(
            _bare_methods,
            json_schema_input_type=str | tuple[str | VariantSetChoice | Variant, ...],
        ),
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

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        labels = [variant.label for variant in self.variants]
        _check_distinct(label=labels, seed=self.seeds, split=self.splits, recipe=self.recipes)
        return self


class Job(Model):
    """One stage of one variant on one split with one seed: the unit that trains and has a record.

    `label`, `recipe_name` and `stage` describe; the number depends on the rest. `depends_on` holds
    the keys of the jobs whose weights it needs, the one it continues from first. A job on a
    `subset` of the classes has no others: it is trained on their images alone and predicts no
    other. A method of a plugin has the hash of its source beside its version.
    """

    label: str = Field(json_schema_extra=NOTE)
    recipe_name: str = Field(json_schema_extra=NOTE)
    dataset: DatasetSpec
    split: Split
    method: Name
    version: int = Field(ge=1)
    plugin_hash: str | None = Field(None, json_schema_extra=LATER)
    stage: Name
    hparams: dict[str, Any]
    recipe: Recipe
    stage_recipe: StageRecipe | None
    seed: int = Field(ge=0)
    depends_on: tuple[str, ...] = ()
    subset: ClassSubset = Field("all", json_schema_extra=LATER)
    overrides: tuple[str, ...] = Field((), json_schema_extra=NOTE)

    @cached_property
    def key(self) -> str:
        """Hash of what can change the number."""
        return content_hash(self.settings())[:KEY_LENGTH]

    def settings(self) -> dict[str, Any]:
        """Return what the key is of, as plain JSON values."""
        identity = self.identity()
        for stages in ("stage1", "stage2"):  # only this stage's settings count
            del identity["recipe"][stages]
        return {"protocol": PROTOCOL, **identity}

    @property
    def ad_hoc(self) -> bool:
        """Whether the command line overrode the grid: such a record is shown, never ranked."""
        return bool(self.overrides)

    @property
    def title(self) -> str:
        """A line that tells the job from others to a person."""
        where = f"{self.dataset.id} {self.split} seed {self.seed}"
        return f"{self.label} [{self.stage}] on {where}, {self.recipe_name}"
