import io

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.functional import resize

from ltbench.data.decode import BadImageError, decode, decode_pixels, resize_shorter


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image, kind="JPEG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


PLAIN = Image.fromarray(noise(20, 30))


def test_file_names_do_not_matter():
    assert np.array_equal(decode(encoded(PLAIN, "PNG"), 3), PLAIN)
    assert decode(encoded(PLAIN), 3).size == (30, 20)


def test_other_color_modes_are_converted():
    orange = Image.new("RGB", (30, 20), (200, 100, 50))
    from_inks = decode(encoded(orange.convert("CMYK")), 3)
    assert from_inks.mode == "RGB"
    assert np.abs(np.asarray(from_inks, int) - np.asarray(orange)).max() < 8
    assert decode(encoded(PLAIN.convert("L")), 3).mode == "RGB"
    assert decode(encoded(PLAIN), 1).mode == "L"
    assert decode(encoded(PLAIN.convert("RGBA"), "PNG"), 3).mode == "RGB"


def test_orientation_is_ignored():
    tags = Image.Exif()
    tags[0x0112] = 6
    assert decode(encoded(PLAIN, exif=tags), 3).size == (30, 20)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"hello", "is not an image"),
        (encoded(PLAIN)[:-200], "is damaged"),
        (encoded(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG"), "more than 8 bits"),
    ],
)
def test_bad_images_have_a_reason(data, problem):
    with pytest.raises(BadImageError, match=problem):
        decode(data, 3)


def test_a_size_may_be_required():
    assert decode(encoded(PLAIN), 3, (30, 20)).size == (30, 20)
    with pytest.raises(BadImageError, match=r"30x20.*20x20"):
        decode(encoded(PLAIN), 3, (20, 20))


@pytest.fixture(params=["pillow", "simplejpeg"])
def decoded(request, monkeypatch):
    """Decodes bytes without and with simplejpeg: pixels or error message."""
    fast = pytest.importorskip("simplejpeg") if request.param == "simplejpeg" else None

    def both(data):
        results = []
        for module in (None, fast):
            monkeypatch.setattr("ltbench.data.decode.simplejpeg", module)
            try:
                pixels = decode_pixels(data, 3)
                assert np.array_equal(pixels, decode(data, 3))
                results.append(pixels.tolist())
            except BadImageError as error:
                results.append(str(error))
        return results

    return both


@pytest.mark.parametrize(
    "data",
    [
        encoded(PLAIN),
        encoded(PLAIN, quality=90, subsampling="4:4:4"),
        encoded(PLAIN, progressive=True),
        encoded(PLAIN.convert("CMYK")),
        encoded(PLAIN.convert("L")),
        encoded(PLAIN, "PNG"),
        encoded(Image.new("RGB", (1, 1))),
        encoded(PLAIN, exif=Image.Exif()),
        encoded(PLAIN)[:-200],
        encoded(PLAIN)[:-2],
        encoded(PLAIN)[:20],
        b"",
        b"hello",
    ],
    ids=[
        *("plain", "full color", "progressive", "inks", "gray", "png", "one pixel", "tags"),
        *("cut", "without its end", "header", "empty", "text"),
    ],
)
def test_every_decoder_gives_the_same(data, decoded):
    one, other = decoded(data)
    assert one == other


@pytest.mark.parametrize(
    "size", [(20, 30), (30, 20), (16, 16), (16, 40), (1, 1), (7, 90), (33, 100)]
)
def test_the_shorter_side_is_that_of_torchvision(size):
    image = Image.fromarray(noise(*size))
    ours, theirs = resize_shorter(image, 16), resize(image, 16)
    assert ours.size == theirs.size
    assert np.array_equal(ours, theirs)
