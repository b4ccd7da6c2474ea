"""A folder with an image list: classes ant, bee and cow, several sizes."""

from PIL import Image

from tests.support.listed_images import picture

COUNTS = {"train": (6, 4, 2), "test": (3, 2, 1), "val": (1, 1, 1)}
NAMES = ("ant", "bee", "cow")
SPEC = {"name": "own", "source": "image_list", "train_list": "own.csv", "sizes": "any"}


def rows(parts=("train", "test")):
    """Return the lines of the list with a column of splits."""
    return [
        f"images/{name}/{part} {i}.jpg,{name},{part}"
        for part in parts
        for name, count in zip(NAMES, COUNTS[part], strict=True)
        for i in range(count)
    ]


def write_own(folder, lines, side=None):
    """Write the list own.csv and its images, square if `side` is given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.csv").write_text("".join(f"{line}\n" for line in lines))
    for line in lines:
        path = folder / line.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(path))
        if side is not None:
            Image.open(path).resize((side, side)).save(path, "JPEG")
