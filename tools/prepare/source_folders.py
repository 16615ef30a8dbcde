"""Pictures found in folders, which tell class, split and group."""

from collections.abc import Iterator
from dataclasses import dataclass

from tools.common.catalogue import Catalogue
from tools.common.picture_files import EXTENSIONS, Survey
from tools.prepare.layout import Layout, fields, split_of
from tools.prepare.layout_choice import choose
from tools.prepare.options import Options
from train.errors import UserError

_SHOWN = 5


@dataclass(frozen=True)
class Found:
    """What a source is like; its pictures are in the catalogue's table ``found``.

    Attributes:
        layout: How class and split were known, for people.
        has_splits: Whether every picture has a split; otherwise none has.
        warnings: What was not used.
        ignored: Pictures under the source folder that were left alone, and are no masks.
    """

    layout: str
    has_splits: bool
    warnings: list[str]
    ignored: int = 0


def from_folders(catalogue: Catalogue, survey: Survey, options: Options, has_masks: bool) -> Found:
    """Take pictures from folders of classes or splits, or as ``--layout`` says.

    Args:
        catalogue: Its table ``files`` holds the pictures of the source.
        survey: What else is there.
        options: Of these, the source and the layout.
        has_masks: Without masks, every picture needs a class.

    Raises:
        UserError: The folders are not as the layout says; or, without one, it is not plain what
            they are.
    """
    layout = _given(options, has_masks) or choose(catalogue, survey, options, has_masks)
    catalogue.insert("found", _rows(catalogue, layout))
    if not catalogue.value("SELECT count(*) FROM found"):
        _refuse_all(catalogue, layout, options, survey)
    if layout.has("class"):
        classes = catalogue.rows("SELECT DISTINCT class FROM found ORDER BY class")
        names = [name for (name,) in classes]
        if len(names) < 2:
            text = "; ".join(
                [f"one class only ({names[0]}): two or more are needed", *without_pictures(survey)]
            )
            raise UserError(f"{options.src}: {text}")
    warnings = [*without_pictures(survey), *not_read(survey)]
    return Found(layout.text, layout.has("split"), warnings)


def _given(options: Options, has_masks: bool) -> Layout | None:
    if options.layout is None:
        return None
    layout = Layout(options.layout)
    if not layout.has("class") and not has_masks:
        raise UserError(
            f"--layout {layout.text}: no {{class}} in it, and no --masks: what is to be learned?"
        )
    return layout


def _rows(
    catalogue: Catalogue, layout: Layout
) -> Iterator[tuple[str, str, str, str, int, int, int]]:
    pattern = layout.compiled()
    for key, size, mtime in catalogue.rows("SELECT key, bytes, mtime FROM files"):
        if (match := pattern.fullmatch(key)) is None:
            continue
        said = fields(match)
        split = split_of(said["split"]) or ""
        yield key, said["class"], split, said["group"], 0, size, mtime


def _refuse_all(catalogue: Catalogue, layout: Layout, options: Options, survey: Survey) -> None:
    count, first = next(catalogue.rows("SELECT count(*), min(key) FROM files"))
    if count:
        raise UserError(
            f"--layout {layout.text}: fits none of the {count} picture(s) in {options.src}, such "
            f"as {first}"
        )
    kinds = " ".join(extension[1:] for extension in EXTENSIONS)
    found = "; ".join(["", *not_read(survey)])
    raise UserError(f"{options.src}: no pictures in it (looked for {kinds}){found}")


def shown(names: list[str], what: str) -> str:
    """Return how many there are, and a few of them."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} {what}(s): {', '.join(names[:_SHOWN])}{more}"


def without_pictures(survey: Survey) -> list[str]:
    """Return a line on the folders that hold nothing that is read, if there are any."""
    alive: set[str] = {""}
    for folder, count in survey.folders.items():
        while count and folder not in alive:
            alive.add(folder)
            folder = folder.rpartition("/")[0]
    dead = sorted(f for f in survey.folders if f not in alive and f.rpartition("/")[0] in alive)
    texts = []
    for folder in dead:
        inside = (k for f, k in survey.unread.items() if f"{f}/".startswith(f"{folder}/"))
        texts.append(f"{folder} ({next(inside, 'empty')})")
    return [f"left out, without a picture: {shown(texts, 'folder')}"] if texts else []


def not_read(survey: Survey) -> list[str]:
    """Return a line on the files that are no pictures, if there are any."""
    if not survey.others:
        return []
    most = survey.others.most_common(_SHOWN)
    texts = [f"{count} {kind} ({survey.examples[kind]})" for kind, count in most]
    if rest := survey.others.total() - sum(count for _, count in most):
        texts.append(f"{rest} others")
    return [f"not read: {', '.join(texts)}"]
