"""Layers of polygons with a class each: GeoJSON, or GeoPackage.

They come as rings of pixels' corners and are written as they come. In GeoJSON (RFC 7946) the
coordinates are longitude and latitude on WGS 84; in a GeoPackage they are those of the scene. Of a
scene that has no transform they are pixels: columns, and rows downwards.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tools.predict.scenes.gdal import missing, rasterio, unwritable, writable
from tools.predict.scenes.scene import Place
from train.errors import UserError

Ring = npt.NDArray[np.float64]
Values = dict[str, str | int | float]

_WGS_84 = "EPSG:4326"
# Seven digits of a degree are a centimetre.
_DIGITS = 7
_TOGETHER = 2000
# A GeoPackage says when it was changed: else no two would be equal.
_EPOCH = {"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"}


class Feature(NamedTuple):
    """A polygon.

    Attributes:
        rings: Its outer ring and its holes, closed, each (points, 2): column, row.
        values: Its properties.
    """

    rings: Sequence[Ring]
    values: Values


def write_layer(
    path: Path, place: Place, name: str, features: Iterable[Feature], vector: str
) -> None:
    """Write a layer.

    Args:
        path: The file.
        place: Where the scene is.
        name: Name of the layer.
        features: Its polygons, all with the same properties.
        vector: ``geojson`` or ``gpkg``.

    Raises:
        UserError: It cannot be written, or pyogrio is not installed.
        OSError: It cannot be written.
    """
    target = place.crs if vector == "gpkg" else _WGS_84
    placed = _placed(features, place, target)
    if vector == "gpkg":
        _write_geopackage(path, place, name, placed)
    else:
        _write_geojson(path, place, name, placed)


def _placed(
    features: Iterable[Feature], place: Place, target: str | None
) -> Iterator[list[Feature]]:
    """Yield some features at a time, with coordinates of a reference system, in right turns."""
    rest = iter(features)
    while some := list(islice(rest, _TOGETHER)):
        points = np.concatenate([ring for feature in some for ring in feature.rings])
        if place.transform is not None:
            points = moved(points, place.transform)
            if place.crs is not None and target not in (None, place.crs):
                x, y = rasterio().warp.transform(place.crs, target, points[:, 0], points[:, 1])
                points = np.stack([x, y], axis=1)
        begin, placed = 0, []
        for feature in some:
            rings: list[Ring] = []
            for ring in feature.rings:
                rings.append(_turned(points[begin : begin + len(ring)], hole=bool(rings)))
                begin += len(ring)
            placed.append(Feature(rings, feature.values))
        yield placed


def moved(points: Ring, transform: Sequence[float]) -> Ring:
    """Apply a transform, six numbers in GDAL's order, to points (n, 2)."""
    x0, dx_column, dx_row, y0, dy_column, dy_row = transform
    columns, rows = points.T
    x = x0 + columns * dx_column + rows * dx_row
    y = y0 + columns * dy_column + rows * dy_row
    return np.stack([x, y], axis=1)


def area_of(ring: Ring) -> float:
    """Return the area of a closed ring, above zero if it runs counterclockwise where y is up."""
    x, y = (ring - ring[0]).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def _turned(ring: Ring, hole: bool) -> Ring:
    """Let an outer ring run counterclockwise and a hole clockwise."""
    return ring[::-1] if (area_of(ring) < 0) != hole else ring


def _write_geojson(
    path: Path, place: Place, name: str, features: Iterable[Sequence[Feature]]
) -> None:
    head = {"type": "FeatureCollection", "name": name}
    note = coordinates_note(place)
    text = json.dumps(head | ({"note": note} if note else {}), ensure_ascii=False)
    with writable(path), path.open("w", encoding="utf-8") as file:
        file.write(f'{text[:-1]}, "features": [')
        between = "\n"
        for some in features:
            for feature in some:
                rings = [np.round(ring, _DIGITS).tolist() for ring in feature.rings]
                geometry = {"type": "Polygon", "coordinates": rings}
                whole = {"type": "Feature", "properties": feature.values, "geometry": geometry}
                file.write(between + json.dumps(whole, ensure_ascii=False))
                between = ",\n"
        file.write("\n]}\n")


def coordinates_note(place: Place) -> str | None:
    """Return what has to be said of coordinates that are not those of the Earth."""
    if place.transform is None:
        has = "only control points" if place.gcps else "no transform"
        return f"it has {has}: coordinates of polygons are pixels, columns and rows downwards"
    if place.crs is None:
        return "it has no coordinate reference system: coordinates are in an unknown one"
    return None


def _write_geopackage(
    path: Path, place: Place, name: str, features: Iterable[Sequence[Feature]]
) -> None:
    try:
        import pyogrio
    except ImportError as error:
        raise UserError(missing("pyogrio", "GeoPackages", error)) from None
    pyogrio.set_gdal_config_options(_EPOCH)
    path.unlink(missing_ok=True)
    rest = iter(features)
    # One without polygons has columns too.
    some: Sequence[Feature] | None = next(rest, [])
    while some is not None:
        with writable(path):
            try:
                pyogrio.raw.write(
                    path,
                    geometry=np.array([_well_known(f.rings) for f in some], object),
                    **_columns(some),
                    geometry_type="Polygon",
                    crs=place.crs if place.transform is not None else None,
                    driver="GPKG",
                    layer=name,
                    append=path.exists(),
                )
            except pyogrio.errors.DataSourceError as error:
                raise unwritable(path, error) from None
        some = next(rest, None)


def _columns(features: Sequence[Feature]) -> dict[str, Any]:
    """Return names and values of the properties, as pyogrio takes them."""
    names = list(features[0].values) if features else ["class"]
    columns = [np.array([f.values[name] for f in features]) for name in names]
    # Texts are objects; what is empty has no type yet.
    typed = [c.astype(object) if c.dtype.kind == "U" or not features else c for c in columns]
    return {"fields": names, "field_data": typed}


def _well_known(rings: Sequence[Ring]) -> bytes:
    """Return a polygon as well-known binary."""
    parts = [struct.pack("<BII", 1, 3, len(rings))]
    for ring in rings:
        parts += [struct.pack("<I", len(ring)), ring.astype("<f8").tobytes()]
    return b"".join(parts)
