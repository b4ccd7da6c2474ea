"""Photographs from their files to normalized batches, images a second of one core's time.

The usual dataset (PIL, torchvision's transforms, DataLoader) against ours on the same files, and on
caches of pixels and of JPEGs. Time is that of the processor, summed over threads, so that what is
done beside the step counts too; with a GPU, what it does counts nothing. Then reading alone, from
which follow the seconds that eight cores read at an epoch of ImageNet-LT, and decoders on the same
bytes. Without --photos they are made here; take real ones for figures to keep.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from rounds import interleaved, report
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.io import ImageReadMode, decode_jpeg
from work import device, recipe

from ltbench.config.load import load_dataset
from ltbench.data import decode
from ltbench.data.cache_building import build_cache
from ltbench.data.datamodule import DataModule
from ltbench.data.image_cache import open_cache
from ltbench.data.images import FileImages, Images, encode_jpeg, read_image
from ltbench.data.raw_dataset import RawDataset

SPEC = load_dataset("imagenet_lt").model_copy(
    update={"name": "photographs", "classes": 10, "official_lists": None, "full_train_images": None}
)
SHORT_SIDE, QUALITY, BATCH = 256, 90, 64
EPOCH, CORES = 115_846, 8


class Photographs(Dataset[tuple[Tensor, int]]):
    """Files to PIL images, transforms one by one: what ImageNet loaders of the field do."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        norm = SPEC.normalization
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(SPEC.image_size),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.4, 0.4, 0.4, 0),
                transforms.ToTensor(),
                transforms.Normalize(norm.mean, norm.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image: Tensor = self.transform(Image.open(self.files[i]).convert("RGB"))
        return image, i % SPEC.classes


def make_photographs(folder: Path, count: int) -> list[Path]:
    """Write smooth, grainy images of the usual sizes of ImageNet as JPEGs."""
    generator = np.random.default_rng(0)
    for i in range(count):
        size = (500, 375) if i % 4 else (375, 500)
        coarse = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float64)
        grainy = smooth + generator.normal(0, 8, smooth.shape)
        image = Image.fromarray(grainy.clip(0, 255).astype(np.uint8))
        image.save(folder / f"{i:04}.jpg", quality=92)
    return sorted(folder.iterdir())


def rate(work: Callable[[], int]) -> float:
    """Return what some work does in a second of processor time."""
    began = time.process_time()
    done = work()
    return done / (time.process_time() - began)


def usual(files: Sequence[Path]) -> float:
    """Return the rate of the usual dataset."""
    loader = DataLoader(Photographs(files), batch_size=BATCH, shuffle=True, drop_last=True)
    return rate(lambda: sum(len(labels) for _, labels in loader))


def ours(raw: RawDataset, cache: str, quality: int | None) -> float:
    """Return the rate of our data module, with what is in a cache folder."""
    os.environ["LTBENCH_CACHE"] = cache
    where, precision = device(), "fp32"
    settings = recipe("imagenet_lt_90", batch_size=BATCH, precision=precision, jpeg_quality=quality)
    data = DataModule(SPEC, "longtailed", settings, seed=0, raw=raw, device=where)
    return rate(lambda: sum(len(batch) for batch in data.epoch(0)))


def reading(raw: RawDataset, folder: str, quality: int | None) -> float:
    """Return the rate of reading images whole."""
    os.environ["LTBENCH_CACHE"] = folder
    cache = open_cache(SPEC, raw, SHORT_SIDE, quality)
    files = replace(raw.files["train"], resize_shorter_side=SHORT_SIDE)
    images: Images = files if cache is None else cache[0]["train"]
    order = np.random.default_rng(0).permutation(len(images)).tolist()
    return rate(lambda: len([image.copy() for image in images.read(order)]))


def decoders(data: Sequence[bytes]) -> dict[str, Callable[[], float]]:
    """Return the rate of each decoder that is installed, on the same bytes."""

    def pil(one: bytes) -> object:
        return np.asarray(Image.open(io.BytesIO(one)).convert("RGB"))

    def torchvision(one: bytes) -> object:
        return decode_jpeg(torch.frombuffer(bytearray(one), dtype=torch.uint8), ImageReadMode.RGB)

    known: dict[str, Callable[[bytes], object]] = {"PIL": pil, "torchvision": torchvision}
    if decode.simplejpeg is not None:
        known["simplejpeg"] = partial(decode.simplejpeg.decode_jpeg, colorspace="RGB")
    known["ours"] = partial(decode.decode_pixels, channels=3)
    return {
        name: partial(rate, lambda each=each: len([each(one) for one in data]))
        for name, each in known.items()
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "photos").mkdir()
        found = (
            sorted(words.photos.iterdir())
            if words.photos
            else make_photographs(place / "photos", 64)
        )
        files = [found[i % len(found)] for i in range(words.images)]
        labels = np.arange(words.images) % SPEC.classes
        test = FileImages(Path("/"), tuple(str(path.absolute())[1:] for path in files[:8]), 3)
        train = FileImages(Path("/"), tuple(str(path.absolute())[1:] for path in files), 3)
        names = tuple(map(str, range(SPEC.classes)))
        raw = RawDataset(train, labels, test, labels[:8], names, "0" * 64)
        stored = {
            "files": (str(place / "none"), None),
            "cache of pixels": (str(place / "cache"), None),
            "cache of JPEGs": (str(place / "cache"), QUALITY),
        }
        os.environ["LTBENCH_CACHE"] = str(place / "cache")
        for quality in (None, QUALITY):
            built = build_cache(SPEC, raw, SHORT_SIDE, quality=quality)
            print(f"{built.folder.name}: {built.bytes / built.images / 1e3:.1f} kB an image")
        whole = {"usual dataset": lambda: usual(files)}
        whole |= {f"ours, {name}": partial(ours, raw, *how) for name, how in stored.items()}
        report("images", "images a second", interleaved(whole, words.rounds), "usual dataset")
        alone = {name: partial(reading, raw, *how) for name, how in stored.items()}
        figures = interleaved({"usual dataset": lambda: usual(files), **alone}, words.rounds)
        report("images_reading", "images a second", figures, "usual dataset")
        for name, values in figures.items():
            seconds = EPOCH / median(values) / CORES
            print(f"  an epoch of ImageNet-LT, {name}, {CORES} cores: {seconds:.0f} s")
        resized = [read_image(path, 3, SHORT_SIDE) for path in found]
        for name, data in (
            ("files", [path.read_bytes() for path in found]),
            ("resized", [encode_jpeg(image, QUALITY) for image in resized]),
        ):
            report(
                f"images_decoders_{name}",
                "images a second",
                interleaved(decoders(data), words.rounds),
                "PIL",
            )


if __name__ == "__main__":
    main()
