"""Reading of small images from files and from the array cache.

Rates are images per second. Files are read and decoded one by one, as usual datasets do in every
epoch; from the cache, batches are gathered in random order. The cache is built, then checked and
opened again, in a temporary folder, and the seconds of each are printed. Images are those of
--data-root.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rounds import interleaved, report

from ltbench.config.load import load_dataset
from ltbench.data.image_folder import list_folder
from ltbench.data.images import InMemoryImages
from ltbench.data.sources import dataset_path, load_raw_dataset, resolve_root

BATCH, STEPS = 128, 40


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="tinyimagenet32")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    spec = load_dataset(args.dataset)
    folder = dataset_path(spec, resolve_root(args.data_root))
    listing = list_folder(folder, {"train": spec.train_folder, "test": spec.test_folder})
    paths = [folder / file.path for file in listing.parts["train"]]
    order = np.random.default_rng(0).permutation(len(paths))[: BATCH * STEPS].reshape(-1, BATCH)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["LTBENCH_CACHE"] = temporary
        for what in ("build", "check and open"):
            began = time.perf_counter()
            raw = load_raw_dataset(spec, args.data_root)
            print(f"{what}: {time.perf_counter() - began:.1f} s")
        size = sum(file.stat().st_size for file in Path(temporary).rglob("*.npy"))
        print(f"{sum(map(len, listing.parts.values())):,} images, {size / 1e6:.0f} MB")
        packed = raw.train_images
        assert isinstance(packed, InMemoryImages)

        def files() -> float:
            began = time.perf_counter()
            for batch in order:
                np.stack([np.asarray(Image.open(paths[i]).convert("RGB")) for i in batch])
            return order.size / (time.perf_counter() - began)

        def cache() -> float:
            began = time.perf_counter()
            for batch in order:
                packed[batch]
            return order.size / (time.perf_counter() - began)

        figures = interleaved({"files": files, "packed": cache}, args.rounds)
    report(f"packed_{spec.name}", "images a second", figures, "files")


if __name__ == "__main__":
    main()
