"""Photographs from files to normalized batches, images per second of CPU time.

The usual dataset (PIL, torchvision's transforms, DataLoader) against ours on the same files, and on
caches of pixels and of JPEGs. CPU time is summed over threads, so that background work counts too;
a GPU's time does not count. Then reading alone, which gives the seconds that eight cores need to
read an epoch of ImageNet-LT, and decoders on the same bytes. Without --photos images are
synthetic; use real photographs for results to keep.
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
from ltbench.data.images import FileImages, Images, encode_jpeg
from ltbench.data.raw_dataset import RawDataset

SPEC = load_dataset("imagenet_lt").model_copy(
    update={"name": "photographs", "classes": 10, "official_lists": None, "full_train_images": None}
)
SHORT_SIDE, QUALITY, BATCH = 256, 90, 64
EPOCH, CORES = 115_846, 8


class Photographs(Dataset[tuple[Tensor, int]]):
    """The usual ImageNet dataset: PIL images, and transforms one by one."""

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
    """Write smooth images with noise, of usual ImageNet sizes, as JPEGs."""
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
    """Return the images per second of CPU time."""
    began = time.process_time()
    images = work()
    return images / (time.process_time() - began)


def usual(files: Sequence[Path]) -> float:
    """Return the rate of the usual dataset."""
    loader = DataLoader(Photographs(files), batch_size=BATCH, shuffle=True, drop_last=True)
    return rate(lambda: sum(len(labels) for _, labels in loader))


def ours(raw: RawDataset, cache: str, quality: int | None) -> float:
    """Return the rate of our data module on a cache folder."""
    os.environ["LTBENCH_CACHE"] = cache
    where, precision = device(), "fp32"
    settings = recipe("imagenet_lt_90", batch_size=BATCH, precision=precision, jpeg_quality=quality)
    data = DataModule(SPEC, "longtailed", settings, seed=0, raw=raw, device=where)
    return rate(lambda: sum(len(batch) for batch in data.epoch(0)))


def reading(raw: RawDataset, folder: str, quality: int | None) -> float:
    """Return the rate of reading whole images."""
    os.environ["LTBENCH_CACHE"] = folder
    cache = open_cache(SPEC, raw, SHORT_SIDE, quality)
    files = replace(raw.files["train"], resize_shorter_side=SHORT_SIDE)
    images: Images = files if cache is None else cache[0]["train"]
    order = np.random.default_rng(0).permutation(len(images)).tolist()
    return rate(lambda: len([image.copy() for image in images.read(order)]))


def decoders(data: Sequence[bytes]) -> dict[str, Callable[[], float]]:
    """Return a measurement of each installed decoder on the same bytes."""

    def pil(one: bytes) -> object:
        return np.asarray(Image.open(io.BytesIO(one)).convert("RGB"))

    def torchvision(one: bytes) -> object:
        return decode_jpeg(torch.frombuffer(bytearray(one), dtype=torch.uint8), ImageReadMode.RGB)

    installed: dict[str, Callable[[bytes], object]] = {"PIL": pil, "torchvision": torchvision}
    if decode.simplejpeg is not None:
        installed["simplejpeg"] = partial(decode.simplejpeg.decode_jpeg, colorspace="RGB")
    installed["ours"] = partial(decode.decode_pixels, channels=3)
    return {
        name: partial(rate, lambda decoder=decoder: len([decoder(one) for one in data]))
        for name, decoder in installed.items()
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "photos").mkdir()
        photos = (
            sorted(args.photos.iterdir()) if args.photos else make_photographs(root / "photos", 64)
        )
        files = [photos[i % len(photos)] for i in range(args.images)]
        labels = np.arange(args.images) % SPEC.classes
        test = FileImages(Path("/"), tuple(str(path.absolute())[1:] for path in files[:8]), 3)
        train = FileImages(Path("/"), tuple(str(path.absolute())[1:] for path in files), 3)
        names = tuple(map(str, range(SPEC.classes)))
        raw = RawDataset(train, labels, test, labels[:8], names, "0" * 64)
        stored = {
            "files": (str(root / "none"), None),
            "cache of pixels": (str(root / "cache"), None),
            "cache of JPEGs": (str(root / "cache"), QUALITY),
        }
        os.environ["LTBENCH_CACHE"] = str(root / "cache")
        for quality in (None, QUALITY):
            built = build_cache(SPEC, raw, SHORT_SIDE, quality=quality)
            print(f"{built.folder.name}: {built.bytes / built.images / 1e3:.1f} kB an image")
        whole = {"usual dataset": lambda: usual(files)}
        whole |= {f"ours, {name}": partial(ours, raw, *how) for name, how in stored.items()}
        report("images", "images a second", interleaved(whole, args.rounds), "usual dataset")
        alone = {name: partial(reading, raw, *how) for name, how in stored.items()}
        figures = interleaved({"usual dataset": lambda: usual(files), **alone}, args.rounds)
        report("images_reading", "images a second", figures, "usual dataset")
        for name, values in figures.items():
            seconds = EPOCH / median(values) / CORES
            print(f"  an epoch of ImageNet-LT, {name}, {CORES} cores: {seconds:.0f} s")
        resizing = replace(train, resize_shorter_side=SHORT_SIDE)
        resized = [resizing.open(str(path.absolute())) for path in photos]
        for name, data in (
            ("files", [path.read_bytes() for path in photos]),
            ("resized", [encode_jpeg(image, QUALITY) for image in resized]),
        ):
            report(
                f"images_decoders_{name}",
                "images a second",
                interleaved(decoders(data), args.rounds),
                "PIL",
            )


if __name__ == "__main__":
    main()
