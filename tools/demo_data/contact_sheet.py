"""A contact sheet: some pictures of every class of every generated data set, with their names."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_COLUMNS = 9
_TILE = 104
_GAP = 4
_MARGIN = 24
_NAMES_WIDTH = 200
_TITLE_HEIGHT = 44
_INK = (34, 38, 44)
_FAINT = (110, 118, 128)
_TITLE = "Generated pictures for trying out the pipeline: no real places"


def write(path: Path, images: Path) -> None:
    """Draw the sheet.

    Args:
        path: PNG file to write.
        images: Folder of data set folders of class folders of pictures.
    """
    sets = [(folder, sorted(folder.iterdir())) for folder in sorted(images.iterdir())]
    height = _TITLE_HEIGHT + sum(
        _TITLE_HEIGHT + len(classes) * (_TILE + _GAP) for _, classes in sets
    )
    width = _NAMES_WIDTH + _COLUMNS * (_TILE + _GAP)
    sheet = Image.new("RGB", (width + 2 * _MARGIN, height + 2 * _MARGIN), (252, 252, 250))
    pen = ImageDraw.Draw(sheet)
    title, text = ImageFont.load_default(22), ImageFont.load_default(15)
    pen.text((_MARGIN, _MARGIN), _TITLE, _FAINT, text)
    y = _MARGIN + _TITLE_HEIGHT // 2
    for folder, classes in sets:
        y += _TITLE_HEIGHT
        pen.text((_MARGIN, y - 34), folder.name, _INK, title)
        for class_folder in classes:
            pen.text((_MARGIN, y + _TILE // 2 - 9), class_folder.name, _INK, text)
            _row(sheet, class_folder, y)
            y += _TILE + _GAP
    sheet.save(path)


def _row(sheet: Image.Image, folder: Path, y: int) -> None:
    for column, file in enumerate(sorted(folder.iterdir())[:_COLUMNS]):
        with Image.open(file) as picture:
            tile = picture.resize((_TILE, _TILE), Image.Resampling.BICUBIC)
        sheet.paste(tile, (_MARGIN + _NAMES_WIDTH + column * (_TILE + _GAP), y))
