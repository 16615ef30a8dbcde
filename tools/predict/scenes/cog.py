"""From the pieces of a raster to one Cloud-Optimized GeoTIFF.

GDAL sees the pieces as one raster by way of a virtual one, a file of XML, and copies that: block by
block, so that memory does not grow with the scene.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree as xml

from tools.predict.scenes.gdal import rasterio, readable, writable
from tools.predict.scenes.pieces import STEPS, Output
from tools.predict.scenes.reader import Part
from tools.predict.scenes.scene import Place, Scene

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
    virtual = path.with_suffix(".vrt")
    pieces = [output.piece(to, part.number) for part in parts]
    xml.ElementTree(_virtual(scene, output, parts, pieces)).write(virtual, encoding="utf-8")
    options = {
        "driver": "COG",
        "compress": "deflate",
        "predictor": "yes" if output.probabilities else "no",
        "overview_resampling": "mode" if output.probabilities is None else "average",
        # Of a whole scene at full size, 20,000 x 20,000 x 20 classes are 32 GB.
        "bigtiff": "if_safer",
    }
    with writable(path):
        rasterio().shutil.copy(virtual, path, **options)
    # A disk that is full may have been told to nobody.
    with readable(str(path)), rasterio().open(path) as file:
        for _, window in file.block_windows(1):
            file.read(1, window=window)


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
        band = xml.SubElement(
            root, "VRTRasterBand", dataType=_VRT_TYPES[output.dtype], band=str(number)
        )
        _add(band, "Description", name)
        _add(band, "NoDataValue", f"{output.nodata:g}")
        if output.probabilities is None:
            _add_classes(band, output)
        elif output.probabilities == "uint8":
            _add(band, "Scale", repr(1 / STEPS))
        for part, piece in zip(parts, pieces, strict=True):
            _add_piece(band, number, part, piece)
    return root


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
