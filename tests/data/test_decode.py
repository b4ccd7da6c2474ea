import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms.functional import resize

from ltbench.data import decode as decoding
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


def oriented(orientation, kind):
    """Return a file with an Exif orientation, and its image as it should be seen."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = encoded(PLAIN, kind, exif=tags)
    return data, ImageOps.exif_transpose(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_photographs_are_turned_upright_on_request(orientation, kind, fast, monkeypatch):
    if not fast:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    data, seen = oriented(orientation, kind)
    assert np.array_equal(decode(data, 3, upright=True), seen)
    kept = seen if kind == "TIFF" else Image.open(io.BytesIO(data))  # PIL turns every TIFF
    assert np.array_equal(decode(data, 3), kept)


@pytest.mark.parametrize("before", [b"", b"\xff\xfe\0\x06text", b"\xff\xff\xff"])
def test_orientation_is_found_behind_other_segments(before):
    data, seen = oriented(6, "JPEG")
    data = data[:2] + before + data[2:]
    assert np.array_equal(decode(data, 3, upright=True), seen)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0", b"MM\0*\0\1"])
def test_damaged_tags_turn_nothing(exif):
    data = encoded(PLAIN, exif=exif)
    assert np.array_equal(decode(data, 3, upright=True), decode(encoded(PLAIN), 3))


def png(depth, color, channels):
    """Return the bytes of a gray PNG of 4x4 pixels."""

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", 4, 4, depth, color, 0, 0, 0)
    rows = (b"\0" + b"\x7f" * (4 * channels * depth // 8)) * 4
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(**changes):
    """Return the bytes of a gray TIFF of 4x4 pixels; `changes` are (type, count, value) by tag."""
    ones = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 134, 277: 1, 278: 4, 279: 48}
    tags = {tag: (3, 1, value) for tag, value in ones.items()}
    tags |= {int(tag.strip("t")): entry for tag, entry in changes.items()}
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    header = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    return (header + b"\x10\0" * 6)[:134] + bytes(96)


def ppm(kind, largest, data):
    return b"%s\n4 4\n%d\n" % (kind, largest) + data


HALF = b"\x7f\xff" * 48


@pytest.mark.parametrize(
    "data",
    [
        *(png(16, color, channels) for color, channels in ((0, 1), (2, 3), (4, 2), (6, 4))),
        *(ppm(kind, 65535, HALF) for kind in (b"P5", b"P6")),
        *(ppm(b"P6", 1023, b"\x01\xff" * 48), ppm(b"P3", 65535, b"32767 " * 48)),
        *(tiff(t258=(3, 1, 16)), tiff(t258=(3, 3, 122), t262=(3, 1, 2), t277=(3, 1, 3))),
        encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
    ],
    ids=[
        *("png", "png-color", "png-alpha", "png-color-alpha", "pgm", "ppm", "ppm-10-bit"),
        *("ppm-text", "tiff", "tiff-color", "tiff-float"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_more_than_8_bits_are_not_dropped_in_silence(data, channels):
    with pytest.raises(BadImageError, match="more than 8 bits"):
        decode(data, channels)


@pytest.mark.parametrize("data", [png(8, 2, 3), png(8, 6, 4), ppm(b"P6", 255, b"\x7f" * 48)])
def test_8_bits_are_decoded(data):
    assert np.array_equal(decode(data, 3), np.full((4, 4, 3), 127))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"hello", "is not an image"),
        (encoded(PLAIN)[:-200], "is damaged"),
        (encoded(PLAIN)[:20], "is damaged"),
        (encoded(PLAIN, "GIF")[:40], "is damaged"),
        (tiff(t273=(2, 4, 0x41414141)), "is damaged"),  # of which PIL raises a TypeError
        (tiff(t258=(2, 4, 0x41414141)), "is damaged"),
        (tiff(t254=(4, 1, 1)), "preview"),
        (encoded(PLAIN, "ICO"), "is ICO, not JPEG, PNG"),
        (b"\0\0\0\x20ftypavif" + bytes(40), "is AVIF"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "is HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "is JPEG 2000"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>404", "is a web page"),
    ],
)
def test_bad_images_have_a_reason(data, problem):
    with pytest.raises(BadImageError, match=problem):
        decode(data, 3, upright=True)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_unless_allowed(kind, monkeypatch):
    data = encoded(PLAIN, kind)
    for limit in (599, 290):  # PIL warns of the one, and refuses the other
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(BadImageError, match=f"more than {limit} pixels.*max_pixels"):
            decode(data, 3, max_pixels=limit)
        assert decode(data, 3, max_pixels=600).size == (30, 20)
        assert Image.MAX_IMAGE_PIXELS in (limit, 600)


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


def test_narrow_images_are_not_resized_to_huge_ones():
    with pytest.raises(BadImageError, match="5000x1, too narrow"):
        resize_shorter(Image.new("L", (5000, 1)), 256)
    assert resize_shorter(Image.new("L", (1, 200)), 64).size == (64, 12_800)
