"""From the pieces of a raster to one Cloud-Optimized GeoTIFF.

GDAL sees the pieces as one raster by way of a virtual one, a file of XML, and copies that: block by
block, so that memory does not grow with the scene.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np

from tools.predict.scenes.gdal import rasterio, writable
from tools.predict.scenes.pieces import STEPS, Output
from tools.predict.scenes.reader import Part
from tools.predict.scenes.scene import Place, Scene
from train.errors import UserError
from train.files import disk_of

_VRT_TYPES = {"uint8": "Byte", "float32": "Float32"}
_OPAQUE = "255"


def write_cog(path: Path, scene: Scene, output: Output, parts: Sequence[Part], to: Path) -> None:
    """Write a raster, and beside it, in a file of GDAL's, the names of its classes.

    Args:
        path: The file; its folder is that of the pieces too.
        scene: The scene.
        output: What the raster is.
        parts: The blocks of the scene.
        to: The folder of the scene's files.

    Raises:
        UserError: A piece is missing or damaged, or the file cannot be written.
    """
    pieces = [_readable_piece(output, output.piece(to, part.number), part) for part in parts]
    virtual = path.with_suffix(".vrt")
    _write(virtual, _virtual(scene, output, parts, pieces))
    options = {
        "driver": "COG",
        "compress": "deflate",
        "predictor": "yes" if output.probabilities else "no",
        "overview_resampling": "mode" if output.probabilities is None else "average",
        # Of a whole scene at full size, 20,000 x 20,000 x 20 classes are 32 GB.
        "bigtiff": "if_safer",
    }
    with writable(path), _without_stderr():
        rasterio().shutil.copy(virtual, path, **options)
    _compare(path, virtual)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Let nothing be written to standard error, where libtiff prints that a disk is full."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _compare(path: Path, virtual: Path) -> None:
    """Read a file again: not every disk that is full is told."""
    rio = rasterio()
    with writable(path), rio.open(path) as written, rio.open(virtual) as made:
        for _, window in written.block_windows(1):
            pair = written.read(window=window), made.read(window=window)
            if not np.array_equal(*pair, equal_nan=pair[0].dtype.kind == "f"):
                raise UserError(f"{path}: was not written as it should be ({disk_of(path.parent)})")


def _readable_piece(output: Output, piece: Path, part: Part) -> Path:
    """Make a raster of GDAL's of a piece, which is a bare array (rows, bands, columns)."""
    height, width = part.size
    size = np.dtype(output.dtype).itemsize
    root = xml.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    for number in range(len(output.bands)):
        band = _add_band(root, output, number + 1)
        band.set("subClass", "VRTRawRasterBand")
        _add(band, "SourceFilename", piece.name, relativeToVRT="1")
        _add(band, "ImageOffset", str(number * width * size))
        _add(band, "PixelOffset", str(size))
        _add(band, "LineOffset", str(len(output.bands) * width * size))
        _add(band, "ByteOrder", "LSB" if sys.byteorder == "little" else "MSB")
    virtual = piece.with_suffix(".vrt")
    if not piece.exists():
        raise UserError(f"{piece}: missing: predict the scene again")
    _write(virtual, root)
    return virtual


def _write(path: Path, root: xml.Element) -> None:
    with writable(path):
        path.write_bytes(xml.tostring(root, encoding="utf-8"))


def _virtual(
    scene: Scene, output: Output, parts: Sequence[Part], pieces: Sequence[Path]
) -> xml.Element:
    root = xml.Element("VRTDataset", rasterXSize=str(scene.width), rasterYSize=str(scene.height))
    _add_place(root, scene.place)
    classes = output.answer.classes
    tags = {
        "AREA_OR_POINT": scene.place.area_or_point,
        "task": output.answer.name,
        "scene": scene.name,
        "classes": json.dumps(classes, ensure_ascii=False),
        **{f"class_{i}": name for i, name in enumerate(classes)},
    }
    _add_tags(root, tags.items())
    for number, name in enumerate(output.bands, 1):
        band = _add_band(root, output, number)
        _add(band, "Description", name)
        _add(band, "NoDataValue", f"{output.nodata:g}")
        if output.probabilities is None:
            _add_classes(band, output)
        elif output.probabilities == "uint8":
            _add(band, "Scale", repr(1 / STEPS))
        for part, piece in zip(parts, pieces, strict=True):
            _add_piece(band, number, part, piece)
    return root


def _add_band(root: xml.Element, output: Output, number: int) -> xml.Element:
    kind = _VRT_TYPES[output.dtype]
    return xml.SubElement(root, "VRTRasterBand", dataType=kind, band=str(number))


def _add_place(root: xml.Element, place: Place) -> None:
    if place.gcps:
        points = xml.SubElement(root, "GCPList", Projection=place.crs or "")
        for i, point in enumerate(place.gcps, 1):
            values = zip(("Pixel", "Line", "X", "Y", "Z"), map(repr, point), strict=True)
            xml.SubElement(points, "GCP", dict(values), Id=str(i))
    elif place.crs is not None:
        _add(root, "SRS", place.crs)
    if place.transform is not None:
        _add(root, "GeoTransform", ", ".join(map(repr, place.transform)))
    if place.rpcs:
        _add_tags(root, place.rpcs, domain="RPC")


def _add_tags(root: xml.Element, tags: Iterable[tuple[str, str]], **domain: str) -> None:
    metadata = xml.SubElement(root, "Metadata", domain)
    for key, value in tags:
        _add(metadata, "MDI", value, key=key)


def _add_classes(band: xml.Element, output: Output) -> None:
    _add(band, "ColorInterp", "Palette")
    categories = xml.SubElement(band, "CategoryNames")
    table = xml.SubElement(band, "ColorTable")
    for name, colour in zip(output.answer.classes, output.answer.colours, strict=True):
        _add(categories, "Category", name)
        values = zip(("c1", "c2", "c3", "c4"), (*map(str, colour), _OPAQUE), strict=True)
        xml.SubElement(table, "Entry", dict(values))


def _add_piece(band: xml.Element, number: int, part: Part, piece: Path) -> None:
    height, width = map(str, part.size)
    source = xml.SubElement(band, "SimpleSource")
    _add(source, "SourceFilename", piece.name, relativeToVRT="1")
    _add(source, "SourceBand", str(number))
    xml.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    left, top = str(part.columns.start), str(part.rows.start)
    xml.SubElement(source, "DstRect", xOff=left, yOff=top, xSize=width, ySize=height)


def _add(parent: xml.Element, tag: str, text: str, **attributes: str) -> None:
    xml.SubElement(parent, tag, attributes).text = text
