"""A dataset, and the long-tailed split that is sampled from it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ltbench.config.base import (
    HEX40,
    HEX64,
    LATER,
    NOTE,
    Model,
    Name,
    Refused,
    Spec,
    Title,
    refuse_all,
)
from ltbench.core.groups import ShotRule

PathForm = Annotated[
    str, Field(pattern=r"^([^/{}][^{}]*)?(\{(class|initial|nested|name)\}[^{}]*)+$")
]
Split = Literal["longtailed", "balanced"]
TestedOn = Literal["test", "auxiliary"]
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
OWN_SOURCES = ("image_folder", "image_list")
"""Sources of the user's own images."""
MAX_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded unless a dataset allows more: PIL's limit."""
HOLDOUT = 10
"""Images a class held out where a dataset has no validation images, as many as in meta sets."""


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
    blob: str | None = Field(None, pattern=HEX40)


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
    hash: str = Field(pattern=HEX64)

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


NEEDED_BY = {
    "official_lists": "official_lists",
    "image_list": "train_list",
    "digits": "test_per_class",
}
"""The field that a source needs, and no other source has."""


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
            Files of descriptions default to `upright` for `image_folder` and `image_list`; the
            benchmarks of the field were all read as stored.
        max_pixels: of the largest image that is decoded.
        class_order: the classes from most to fewest images of a split that an imbalance type makes:
            in order of their indices, as in the field's benchmarks, or of their images, the first
            of equal ones first. Defaults as those of `exif`.
        tested_on: the test images, or the `auxiliary` images, to choose hyper-parameters by.
    """

    name: Name
    title: Title = Field(json_schema_extra=NOTE)
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
    shot_rule: ShotRule = "shots"
    split_seed: int = Field(0, ge=0, lt=2**32)
    fingerprint: str | None = Field(None, pattern=HEX64)
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
    def _fields_go_together(self) -> Self:
        refuse_all(
            [
                *self._refused_folders(),
                *self._refused_lists(),
                *self._refused_images(),
                *self._refused_imbalance(),
            ]
        )
        return self

    def _refused_folders(self) -> Iterator[Refused]:
        """Yield what is wrong with folders and validation images."""
        if self.val_folder in (self.train_folder, self.test_folder):
            yield "val_folder", "conflict", "must differ from train_folder and test_folder"
        if self.source != "image_folder":
            for name in ("train_folder", "test_folder", "val_folder"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    yield name, "no-effect", f'has no effect with the source "{self.source}"'
        official = self.auxiliary is not None and self.auxiliary.source == "official_val"
        if official and not self.has_validation_images:
            message = "official_val needs validation images: give a val_folder or a val_list"
            yield "auxiliary", "conflict", message

    def _refused_images(self) -> Iterator[Refused]:
        """Yield what is wrong with sizes and channels of images."""
        if self.sizes == "any" and self.source not in OWN_SOURCES:
            yield "sizes", "conflict", 'any needs the source "image_folder" or "image_list"'
        if self.bad_images is not None and not self.any_size:
            message = "needs images of any size; all others must be readable"
            yield "bad_images", "conflict", message
        if (values := len(self.normalization.mean)) != self.channels:
            message = f"has {values} values for {self.channels} channels"
            yield "normalization", "conflict", message

    def _refused_imbalance(self) -> Iterator[Refused]:
        """Yield what is wrong with imbalance type, ratio and largest class."""
        natural = self.imbalance_type == "natural"
        if natural and self.imbalance_ratio is not None:
            yield "imbalance_ratio", "conflict", "imbalance_type natural has none"
        if not natural and self.imbalance_ratio is None:
            yield "imbalance_type", "conflict", f"{self.imbalance_type} needs an imbalance_ratio"
        if natural and self.max_per_class is not None:
            yield "max_per_class", "no-effect", "has no effect with imbalance_type natural"

    def _refused_lists(self) -> Iterator[Refused]:
        """Yield what is wrong with lists of images."""
        for source, field in NEEDED_BY.items():
            given = getattr(self, field) is not None
            if given != (self.source == source):
                if given:
                    yield field, "conflict", f'needs the source "{source}"'
                else:
                    yield "source", "conflict", f'"{source}" needs {field}'
        if self.official_lists is not None and self.imbalance_type != "natural":
            yield "imbalance_type", "conflict", "must be natural with official_lists"
        if self.official_lists is None and self.full_train_images is not None:
            yield "full_train_images", "conflict", 'needs the source "official_lists"'
        for name in ("test_list", "val_list"):
            if self.train_list is None and getattr(self, name):
                yield name, "conflict", 'needs the source "image_list"'

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
        """Name of the test images, the same for all imbalance ratios."""
        return self.name if self.tested_on == "test" else self.id
