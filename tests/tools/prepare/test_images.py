"""Every kind of picture becomes 8-bit RGB."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.data_sets import bands_tiff, encoded, picture
from tools.prepare.decode import Unreadable, take
from tools.prepare.images import make
from tools.prepare.recipe import Recipe

PNG = Recipe("png", 95, None)
JPEG = Recipe("jpeg", 95, None)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"
        return np.array(image)


def made(data: bytes, recipe: Recipe = PNG) -> np.ndarray:
    return pixels(make(data, recipe).data)


def test_grey_goes_into_all_channels() -> None:
    grey = picture(1).convert("L")
    assert (made(encoded(grey, "PNG")) == np.array(grey)[..., None]).all()


def test_palette_and_one_bit() -> None:
    palette = picture(2).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    assert (made(encoded(palette, "PNG")) == np.array(palette.convert("RGB"))).all()
    bits = picture(2).convert("1")
    assert (made(encoded(bits, "TIFF")) == np.array(bits.convert("RGB"))).all()


def test_transparency_over_black() -> None:
    image = picture(3).convert("RGBA")
    alpha = np.zeros((10, 12), np.uint8)
    alpha[:, 6:] = 255
    image.putalpha(Image.fromarray(alpha))
    result = made(encoded(image, "PNG"))
    assert (result[:, :6] == 0).all()
    assert (result[:, 6:] == np.array(picture(3))[:, 6:]).all()


def test_cmyk() -> None:
    image = picture(4).convert("CMYK")
    assert (made(encoded(image, "TIFF")) == np.array(image.convert("RGB"))).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(form: str) -> None:
    values = np.array([[0, 128, 257, 32768, 65535, 65406]], np.uint16).repeat(4, axis=0)
    result = made(encoded(Image.fromarray(values), form))
    assert result[0, :, 0].tolist() == [0, 0, 1, 128, 255, 254]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_range_are_refused(dtype: type) -> None:
    values: np.ndarray = np.array([[0, 70000]], dtype).repeat(4, axis=0)
    with pytest.raises(ValueError, match="scale them to 8 bits"):
        make(encoded(Image.fromarray(values), "TIFF"), PNG)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG"])
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    # One bright quarter tells all eight apart.
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = 255
    upright[:16, 24:] = 128
    undo: Callable[[np.ndarray], np.ndarray] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(undo(upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, form, exif=exif)
    for recipe in (PNG, JPEG):
        result = make(data, recipe)
        stored = pixels(result.data)
        assert (result.height, result.width) == stored.shape[:2] == (32, 48)
        assert np.abs(stored.astype(int) - upright).mean() < 8
    small = make(data, Recipe("png", 95, 8))
    assert (small.height, small.width) == (8, 12)
    assert np.abs(pixels(small.data).astype(int) - upright[2::4, 2::4]).mean() < 20


def test_files_that_fit_are_stored_as_they_are() -> None:
    jpeg, png = encoded(picture(5), "JPEG", quality=60), encoded(picture(5), "PNG")
    assert make(jpeg, JPEG).data == jpeg and make(png, PNG).data == png
    assert make(jpeg, PNG).data != jpeg and make(jpeg, Recipe("jpeg", 95, 6)).data != jpeg
    # Size as asked for already.
    assert make(jpeg, Recipe("jpeg", 95, 10)).data == jpeg


def test_shrinking_averages() -> None:
    # Stripes of one pixel: picking pixels instead of averaging would give black or white.
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    for form in ("PNG", "JPEG"):
        result = made(encoded(Image.fromarray(stripes), form), Recipe("png", 95, 16))
        # The filter has less to average at the edges.
        assert np.abs(result[1:-1, 1:-1].astype(int) - 127).max() <= 4


def test_sums_are_exact() -> None:
    image = picture(6, (70, 50))
    result = make(encoded(image, "PNG"), JPEG)
    values = np.array(image, np.int64).reshape(-1, 3)
    assert result.sums == tuple(values.sum(axis=0))
    assert result.squares == tuple((values**2).sum(axis=0))


def test_reasons_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    wide = encoded(picture(7, (400, 4)), "PNG")
    (tmp_path / "b.png").write_bytes(wide)
    samples = [(number, [tmp_path / f"{name}.png"]) for number, name in enumerate("abc")]
    results = take(Recipe("png", 95, 8), [], samples)
    reasons = [result.reason for _, result in results if isinstance(result, Unreadable)]
    assert reasons[0] == "not a picture that can be read"
    assert "32 times" in reasons[1]
    assert reasons[2] == "No such file or directory"


def tiff(pixels: np.ndarray, *extra: tuple[int, int]) -> bytes:
    """An uncompressed little-endian TIFF of (height, width, channels), which Pillow cannot write.

    Args:
        pixels: 16-bit values.
        extra: Further tags with one short value each.
    """
    height, width, channels = pixels.shape
    data = pixels.astype("<u2").tobytes()
    bits_at = 8
    data_at = bits_at + 2 * channels
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, data_at),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        *((tag, 3, 1, value) for tag, value in extra),
    ]
    body = struct.pack(f"<{channels}H", *[16] * channels) + data
    directory = struct.pack("<H", len(tags))
    for tag in sorted(tags):
        directory += struct.pack("<HHII", *tag)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + bytes(4)


def test_16_bit_colour_tiff() -> None:
    values = np.array([[[0x1234, 0x5678, 0x9ABC], [0, 0xFFFF, 0x0100]]], np.uint16)
    assert made(tiff(values)).tolist() == [[[0x12, 0x56, 0x9A], [0, 255, 1]]]
    # With transparency: half of 255 over black.
    values = np.array([[[0xFFFF, 0x8000, 0, 0x8080]]], np.uint16)
    (((red, green, blue),),) = made(tiff(values, (338, 2))).tolist()
    assert abs(red - 128) <= 1 and abs(green - 64) <= 1 and blue == 0


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_compressed_tiff(compression: str, mode: str) -> None:
    image = picture(8, (33, 17)).resize((66, 34)).convert(mode)
    result = made(encoded(image, "TIFF", compression=compression)).astype(int)
    limit = 12 if compression == "jpeg" else 0
    assert np.abs(result - np.array(image.convert("RGB"))).mean() <= limit


def test_cmyk_jpeg() -> None:
    image = Image.new("CMYK", (16, 16), (200, 30, 0, 20))
    result = made(encoded(image, "JPEG", quality=95), JPEG)
    assert np.abs(result.astype(int) - np.array(image.convert("RGB"))).max() < 8


def test_grey_with_transparency() -> None:
    image = Image.merge("LA", (Image.new("L", (4, 4), 200), Image.new("L", (4, 4), 128)))
    assert abs(int(made(encoded(image, "PNG"))[0, 0, 0]) - 100) <= 1


def test_first_of_several_pages() -> None:
    first, second = picture(1), picture(2)
    data = encoded(first, "TIFF", save_all=True, append_images=[second])
    assert (made(data) == np.array(first)).all()


def test_16_bit_colour_is_not_stored_as_it_is() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    # Pillow cannot write this kind of file.
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0, 0xFFFF, 0x0100)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    stored = make(data, PNG).data
    # Byte 24 of a PNG: bits per channel.
    assert data[24] == 16 and stored[24] == 8
    assert pixels(stored).tolist() == [[[0x12, 0x56, 0x9A], [0, 255, 1]]]


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
# Floating point is not stored as differences.
@pytest.mark.parametrize(
    ("kind", "compression"), [("u1", 1), ("u1", 8), ("u2", 1), ("u2", 8), ("f4", 1)]
)
@pytest.mark.parametrize("count", [4, 13])
def test_three_of_many_bands(
    planar: bool, order: str, kind: str, compression: int, count: int
) -> None:
    values = np.random.default_rng(count).integers(0, 256, (7, 5, count)).astype(kind)
    data = bands_tiff(values, planar=planar, compression=compression, order=order)
    with pytest.raises(ValueError, match=f"^{count} bands.*--bands 4,3,2"):
        make(data, PNG)
    # A range that changes no value, for those of more than 8 bits.
    recipe = Recipe("png", 95, None, bands=(4, 1, 3), range=(0, 255))
    assert (made(data, recipe) == values[..., [3, 0, 2]]).all()
    with pytest.raises(ValueError, match=f"asks for band {count + 1}"):
        make(data, Recipe("png", 95, None, bands=(1, 2, count + 1)))


def test_bands_as_another_program_compressed_them() -> None:
    # Pillow writes a wide grey picture in LZW. Its tags are changed to 6 bands, whose number takes
    # the place of how they are arranged.
    values = np.random.default_rng(0).integers(0, 3000, (16, 8, 6)).astype(np.uint16)
    wide = Image.fromarray(values.reshape(16, 48))
    data = bytearray(encoded(wide, "TIFF", compression="tiff_lzw"))
    (directory,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        tag = struct.unpack_from("<H", data, at)[0]
        if tag in (256, 284):
            new = {256: (256, 8)}.get(tag, (277, 6))
            struct.pack_into("<HHLL", data, at, new[0], 4, 1, new[1])
    result = made(bytes(data), Recipe("png", 95, None, bands=(3, 2, 1), range=(0, 3000)))
    expected = values[..., [2, 1, 0]] * (255 / 3000)
    assert np.abs(result - expected).max() <= 0.51


def test_bands_of_other_pictures() -> None:
    image = picture(4)
    for form, extra in (("PNG", {}), ("JPEG", {"quality": 100}), ("TIFF", {})):
        data = encoded(image, form, **extra)
        expected = np.array(Image.open(io.BytesIO(data)))[..., ::-1]
        assert (made(data, Recipe("png", 95, None, bands=(3, 2, 1))) == expected).all()
    image.putalpha(0)
    result = made(encoded(image, "PNG"), Recipe("png", 95, None, bands=(1, 2, 3)))
    assert (result == np.array(image)[..., :3]).all() and result.any()
    with pytest.raises(ValueError, match="1 band, but --bands asks for band 3"):
        make(encoded(image.convert("L"), "PNG"), Recipe("png", 95, None, bands=(1, 2, 3)))


def test_a_fourth_band_that_is_not_said_to_be_transparency_is_dropped() -> None:
    values = np.full((2, 2, 4), 0x8000, np.uint16)
    values[..., 3] = 0
    result = make(tiff(values), PNG)
    assert (pixels(result.data) == 0x80).all() and result.notes.remarks == ["fourth dropped"]
    assert make(tiff(values, (338, 2)), PNG).notes.remarks == []


@pytest.mark.parametrize("mode", ["grey", "colour", "float", "integers"])
def test_range(mode: str) -> None:
    low, high = (-100, 900) if mode in ("float", "integers") else (100, 900)
    values = np.linspace(low - 50, high + 50, 12).reshape(3, 4)
    expected = ((values - low) / (high - low)).clip(0, 1) * 255
    if mode == "float":
        values[0, 0] = np.nan
    if mode == "colour":
        data = tiff(values.repeat(3).reshape(3, 4, 3).astype(np.uint16))
    else:
        kinds = {"grey": np.uint16, "float": np.float32, "integers": np.int32}
        data = encoded(Image.fromarray(values.astype(kinds[mode])), "TIFF")
    result = made(data, Recipe("png", 95, None, range=(low, high)))
    assert np.abs(result.astype(float) - expected[..., None]).max() < 1
    if mode in ("float", "integers"):
        with pytest.raises(ValueError, match="--range"):
            make(data, PNG)


def test_limit_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow's own limit, far below, is of no account.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = encoded(picture(1, (30, 20)), "PNG")
    assert make(data, Recipe("png", 95, None, max_pixels=600)).width == 30
    with pytest.raises(ValueError, match="30x20 are 600 pixels, more than --max-pixels 599"):
        make(data, Recipe("png", 95, None, max_pixels=599))
    bands = bands_tiff(np.zeros((30, 20, 5), np.uint8))
    with pytest.raises(ValueError, match="--max-pixels 599"):
        make(bands, Recipe("png", 95, None, bands=(1, 2, 3), max_pixels=599))
    assert Image.MAX_IMAGE_PIXELS == 10


def test_other_pages() -> None:
    def notes(first: Image.Image, second: Image.Image, **more: object) -> list[str]:
        data = encoded(first, "TIFF", save_all=True, append_images=[second], **more)
        return make(data, PNG).notes.remarks

    assert notes(picture(1), picture(2)) == ["later pages"]


def png_of_16_bits(values: np.ndarray) -> bytes:
    """A PNG of (height, width, 3 or 4) 16-bit values, each row stored as differences."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    height, width, channels = values.shape
    size = 2 * channels
    rows = b""
    for row in values.astype(">u2"):
        stored = np.frombuffer(row.tobytes(), np.uint8).copy()
        stored[size:] -= np.frombuffer(row.tobytes(), np.uint8)[:-size]
        rows += b"\1" + stored.tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("channels", [3, 4])
def test_range_of_16_bit_colour(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 3000, (6, 7, channels))
    data = png_of_16_bits(values)
    recipe = Recipe("png", 95, None, bands=(3, 2, 1), range=(0, 3000))
    assert np.abs(made(data, recipe) - values[..., [2, 1, 0]] * (255 / 3000)).max() <= 0.51
    # Without a range it is nearly black, and that is noted.
    low, high = make(data, PNG).notes.spread or (0, 65535)
    assert low < 300 and 2500 < high < 3500


def test_two_bands_and_three_of_floating_point() -> None:
    values = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"^2 bands of 32-bit floating point.*--bands 1,2,1"):
        make(bands_tiff(values[..., :2]), PNG)
    recipe = Recipe("png", 95, None, bands=(1, 2, 1), range=(0, 1))
    result = made(bands_tiff(values[..., :2]), recipe)
    assert np.abs(result - values[..., [0, 1, 0]] * 255).max() <= 0.51
    with pytest.raises(ValueError, match=r"^3 bands of 32-bit floating point.*--range LOW,HIGH"):
        make(bands_tiff(values), PNG)
    result = made(bands_tiff(values), Recipe("png", 95, None, range=(0, 1)))
    assert np.abs(result - values * 255).max() <= 0.51
