"""The contact sheet of a data set: a row of pictures for every class."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from tools.common.console import shares
from tools.common.lettering import typeface, wrap
from tools.describe.mask_colours import Colour, Colours, colours_of, paint
from tools.describe.samples import Sample
from train.data.manifest import Manifest
from train.files import replacement

_TILE = 96
_GAP = 5
_MARGIN = 28
_NAMES_WIDTH = 166
_NAMES_GAP = 14
_BLOCK_GAP = 34
_LINE = 20
_INK = (28, 32, 38)
_FAINT = (104, 112, 122)
_PAPER = (252, 252, 250)


def columns_of(rows: int) -> int:
    """Return the columns of rows side by side: as few rows below each other as that allows."""
    return 1 if rows <= 12 else 2 if rows <= 30 else 3


def pictures_in_row(rows: int, label_spaces: int) -> int:
    """Return how many pictures of a row make the sheet about as wide as a screen.

    Args:
        rows: Number of classes.
        label_spaces: Label spaces of masks, which stand beside each picture.
    """
    fitting = {1: 12, 2: 7, 3: 4}[columns_of(rows)]
    return max(2, round(fitting / (1 + label_spaces)))


def draw(
    path: Path, manifest: Manifest, rows: Sequence[Sequence[Sample]], per_row: int, seed: int
) -> None:
    """Draw the sheet and put it at ``path`` once it is whole.

    Args:
        path: PNG file.
        manifest: The data set.
        rows: For every scene class, or class of the first masks, the records to show.
        per_row: Most pictures in a row.
        seed: Seed that the records were chosen with, to be told.
    """
    columns = columns_of(len(rows))
    colours = [colours_of(space) for space in manifest.masks.values()]
    names, notes = _row_texts(manifest)
    labels = [wrap(name, typeface(16), _NAMES_WIDTH) for name in names]
    widths = [typeface(16).getlength(line) for lines in labels for line in lines]
    widths += [typeface(12).getlength(note) for note in notes]
    names_width = int(max(widths)) + _NAMES_GAP
    sample_width = _TILE + (_TILE + 2) * len(manifest.masks)
    block = names_width + per_row * (sample_width + _GAP) - _GAP
    width = max(760, _MARGIN * 2 + columns * (block + _BLOCK_GAP) - _BLOCK_GAP)
    heights = [max(_TILE, len(lines) * _LINE + 26) + _GAP for lines in labels]
    per_column = -(-len(rows) // columns)
    tallest = max(
        sum(heights[start : start + per_column]) for start in range(0, len(rows), per_column)
    )
    legend, height = _legend(manifest, colours, width - 2 * _MARGIN)
    top = _MARGIN + 74 + height
    sheet = Image.new("RGB", (width, top + tallest + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _title(pen, manifest, per_row, seed, width - 2 * _MARGIN)
    for x, y, text, colour in legend:
        x, y = x + _MARGIN, y + _MARGIN + 74
        if colour is not None:
            pen.rectangle((x, y, x + 16, y + 16), colour, outline=(150, 150, 150))
            x += 22
        pen.text((x, y - 1), text, _INK, typeface(14))
    for column in range(columns):
        y = top
        x = _MARGIN + column * (block + _BLOCK_GAP)
        for place in range(column * per_column, min(len(rows), (column + 1) * per_column)):
            _label(pen, x, y, labels[place], notes[place])
            _tiles(sheet, x + names_width, y, rows[place], colours)
            y += heights[place]
    with replacement(path) as temporary:
        sheet.save(temporary, "PNG")


def _title(
    pen: ImageDraw.ImageDraw, manifest: Manifest, per_row: int, seed: int, room: int
) -> None:
    total = sum(split.records for split in manifest.splits.values())
    parts = [f"{total:,} images"]
    if manifest.classes:
        splits = " / ".join(manifest.splits)
        parts.append(f"{len(manifest.classes)} scene classes, below each its {splits} images")
    parts += [f"masks {name}: {len(s.classes)} classes" for name, s in manifest.masks.items()]
    parts.append(f"up to {per_row} of the train split in each row, seed {seed}")
    font = typeface(26, bold=True)
    pen.text((_MARGIN, _MARGIN - 6), wrap(manifest.name, font, room)[0], _INK, font)
    pen.text((_MARGIN, _MARGIN + 32), " · ".join(parts), _FAINT, typeface(14))


def _row_texts(manifest: Manifest) -> tuple[Sequence[str], list[str]]:
    """Return the names of the rows and what stands below them."""
    splits = manifest.splits
    if manifest.classes:
        counts = zip(*(split.per_class for split in splits.values()), strict=True)
        return manifest.classes, [" / ".join(f"{n:,}" for n in row) for row in counts]
    name, space = next(iter(manifest.masks.items()))
    found = shares(splits["train"].pixels[name])
    return space.classes, [f"{share:.1%} of train" for share in found]


def _label(pen: ImageDraw.ImageDraw, x: int, y: int, lines: Sequence[str], note: str) -> None:
    text_height = len(lines) * _LINE + 18
    y += max(0, (_TILE - text_height) // 2)
    for line in lines:
        pen.text((x, y), line, _INK, typeface(16))
        y += _LINE
    pen.text((x, y + 2), note, _FAINT, typeface(12))


def _tiles(
    sheet: Image.Image, x: int, y: int, row: Sequence[Sample], colours: Sequence[Colours]
) -> None:
    if not row:
        pen = ImageDraw.Draw(sheet)
        pen.text((x, y + _TILE // 2 - 8), "none in the train split", _FAINT, typeface(13))
    for sample in row:
        sheet.paste(_tile(sample.image, Image.Resampling.LANCZOS), (x, y))
        left = x
        for mask, own in zip(sample.masks, colours, strict=True):
            left += _TILE + 2
            painted = Image.fromarray(paint(mask, own))
            sheet.paste(_tile(painted, Image.Resampling.NEAREST), (left, y))
        x = left + _TILE + _GAP


def _tile(image: Image.Image, resampling: Image.Resampling) -> Image.Image:
    """Fit the image into a square of the tile's size, its shape kept."""
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    tile = Image.new("RGB", (_TILE, _TILE), (236, 236, 232))
    place = ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2)
    tile.paste(image.resize(size, resampling), place)
    return tile


def _legend(
    manifest: Manifest, colours: Sequence[Colours], width: int
) -> tuple[list[tuple[int, int, str, Colour | None]], int]:
    """Lay out colours and pixel shares of the classes of all label spaces.

    Args:
        manifest: The data set.
        colours: Colours of every label space.
        width: Width of the sheet between its margins.

    Returns:
        Places, texts and colours; and the height of all.
    """
    items: list[tuple[int, int, str, Colour | None]] = []
    y = 0
    for (name, space), own in zip(manifest.masks.items(), colours, strict=True):
        found = shares(manifest.splits["train"].pixels[name])
        texts = [f"{n}  {s:.1%}" for n, s in zip(space.classes, found, strict=False)]
        entries: list[tuple[str, Colour | None]] = [(f"Masks {name}, pixels of train:", None)]
        entries += list(zip(texts, own.classes, strict=True))
        entries.append((f"no class  {found[-1]:.1%}", own.no_class))
        x = 0
        for text, colour in entries:
            room = int(typeface(14).getlength(text)) + (46 if colour else 22)
            if x and x + room > width:
                x, y = 0, y + 26
            items.append((x, y, text, colour))
            x += room
        y += 32
    return items, y + 8 if y else 0
