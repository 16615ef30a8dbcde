"""Which layout a source has: taken where it is plain, else asked for with the commands to choose.

Plain are class/file, split/class/file and, with masks, file and split/file. Anything else could
mean several things, and the wrong one would train on nonsense without a word.
"""

import re
import shlex
from itertools import takewhile

from tools.common.catalogue import Catalogue
from tools.common.picture_files import Survey
from tools.prepare.layout import Layout, split_of, split_pattern
from tools.prepare.mask_advice import ask_about_masks, is_mask_name
from tools.prepare.options import Options
from train.errors import UserError

_SHOWN = 4
# Words that are no split's name here, but are often meant as one.
_NEARLY_SPLITS = {
    **dict.fromkeys(("dev", "devel", "eval", "evaluation", "holdout"), "val"),
    **dict.fromkeys(("trainset", "trn", "tr"), "train"),
    **dict.fromkeys(("valset", "validationset"), "val"),
    **dict.fromkeys(("testset", "tst"), "test"),
}


def choose(catalogue: Catalogue, survey: Survey, options: Options, has_masks: bool) -> Layout:
    """Return the layout of a source.

    Args:
        catalogue: Its table ``files`` holds the pictures.
        survey: The folders, with the number of pictures in each.
        options: Of these, the source and the command.
        has_masks: Whether pictures need no classes.

    Raises:
        UserError: It is not plain; the message holds the command that would be right.
    """
    folders = sorted(folder for folder, count in survey.folders.items() if count and folder)
    paths = [folder.split("/") for folder in folders]
    if not has_masks:
        ask_about_masks(catalogue, options, paths)
    elif any("{" in masks for masks in options.masks):
        # What the pattern names will be taken out, wherever it lies.
        paths = [path for path in paths if not any(map(is_mask_name, path))] or paths
    if not paths:
        return _flat(survey, options, has_masks)
    tops = sorted({path[0] for path in paths})
    meant = {top: split_of(top) for top in tops}
    if all(meant.values()):
        return _of_splits(paths, meant, survey, options, has_masks)
    _ask_about_splits(paths, options, has_masks)
    if max(map(len, paths)) > 1:
        _ask(options, f"its class folders hold folders ({_deepest(paths)})", paths, has_masks)
    if len(tops) == 1:
        hint = "SRC must be the folder that holds the class folders, two or more"
        if has_masks:
            hint = f"for masks alone: {options.command_with(src=options.src / tops[0])}"
        raise UserError(f"{options.src}: pictures in one folder only ({tops[0]}): {hint}")
    return Layout("{class}/*")


def _flat(survey: Survey, options: Options, has_masks: bool) -> Layout:
    loose = survey.folders[""]
    if loose and not has_masks:
        raise UserError(
            f"{options.src}: no pictures in class folders; {loose} lie in no class folder: SRC "
            f"must be the folder that holds the class folders, or give a {_table(survey, options)} "
            "or --masks"
        )
    return Layout("*")


def _table(survey: Survey, options: Options) -> str:
    """Return the option for a table, with one if there is any."""
    table = survey.examples.get("csv")
    return f"--table {shlex.quote(str(options.src / table))}" if table else "--table"


def _of_splits(
    paths: list[list[str]],
    meant: dict[str, str | None],
    survey: Survey,
    options: Options,
    has_masks: bool,
) -> Layout:
    tops = ", ".join(meant)
    for split in meant.values():
        if list(meant.values()).count(split) > 1:
            raise UserError(f"{options.src}: two folders for split {split}: {tops}")
    depth = max(map(len, paths))
    if depth > 2:
        what = f"the class folders of its splits hold folders ({_deepest(paths)})"
        _ask(options, what, paths, has_masks)
    if depth == 2:
        return Layout("{split}/{class}/*")
    if not has_masks:
        raise UserError(
            f"{options.src}: its folders are splits ({tops}), but there are no class folders in "
            f"them: sort the pictures into split/class/, or give a {_table(survey, options)}"
        )
    return Layout("{split}/*")


def _ask_about_splits(paths: list[list[str]], options: Options, has_masks: bool) -> None:
    """Refuse a mixture of folders that are called as splits are, and others."""
    tops = sorted({path[0] for path in paths})
    sure = [top for top in tops if split_of(top)]
    nearly = {top: split for top in tops if not split_of(top) and (split := _nearly(top))}
    if not sure and len(set(nearly.values())) < 2:
        return
    others = ", ".join([top for top in tops if top not in (*sure, *nearly)][:_SHOWN])
    what = f"{', '.join([*sure, *nearly][:_SHOWN])} look like splits"
    what += f", {others} not" if others else ""
    classes = options.command_with("--layout", "{class}/*")
    if nearly and (same := _common_pattern(tops)):
        choice = f"if so: {options.command_with('--layout', _below(same, paths))}"
    elif nearly:
        renames = "; ".join(f"mv {top} {split}" for top, split in [*nearly.items()][:_SHOWN])
        choice = f"rename those that are ({renames})"
    else:
        of_splits = proposals([path for path in paths if path[0] in sure], has_masks)[0]
        choice = f"to leave the others out: {options.command_with('--layout', of_splits)}"
    raise UserError(f"{options.src}: {what}: {choice}; if all are classes: {classes}")


def _common_pattern(tops: list[str]) -> str | None:
    """Return ``{split}_images`` for folders such as ``train_images`` and ``val_images``."""
    found = {split_pattern(top) or "" for top in tops}
    if len(found) > 1 and all(name.startswith("{split}") for name in found):
        return "{split}*"
    return found.pop() if len(found) == 1 else None


def _below(top: str, paths: list[list[str]]) -> str:
    return f"{top}/*" if max(map(len, paths)) == 1 else f"{top}/{{class}}/*"


def _nearly(top: str) -> str | None:
    """Return the split that a name such as ``train_images`` or ``test2017`` makes one think of."""
    for word in re.findall("[a-z]+", top.lower()):
        if split := split_of(word) or _NEARLY_SPLITS.get(word):
            return split
    return None


def _deepest(paths: list[list[str]]) -> str:
    deepest = max(map(len, paths))
    return "/".join(max(path for path in paths if len(path) == deepest))


def _ask(options: Options, what: str, paths: list[list[str]], has_masks: bool) -> None:
    """Refuse, with the commands for all that the folders may mean."""
    first, last = min(paths), max(paths)
    same = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first[:-1], last, strict=False))
    )
    src, rest = options.src.joinpath(*first[:same]), [path[same:] for path in paths]
    commands = []
    for text in proposals(rest, has_masks):
        plain = text in ("{class}/*", "{split}/{class}/*")
        commands.append(options.command_with(*([] if plain else ["--layout", text]), src=src))
    raise UserError(f"{options.src}: {what}: if that is right: {', or '.join(commands)}")


def proposals(paths: list[list[str]], has_masks: bool) -> list[str]:
    """Return the layouts that folders may have, the likeliest first."""
    depth = max(map(len, paths))
    fixed: list[str] = []
    for level in range(depth):
        names = sorted({path[level] for path in paths if len(path) > level})
        only = names[0] if len(names) == 1 else ""
        fixed.append("{split}" if all(map(split_of, names)) else only)
    free = [level for level, text in enumerate(fixed) if not text] or [depth - 1]
    if min(map(len, paths)) < depth:
        # What is deeper belongs to the folder above.
        return ["/".join([*(text or "*" for text in fixed[: free[0]]), "{class}/**/*"])]

    def with_field(level: int, name: str) -> str:
        return "/".join([name if i == level else fixed[i] or "*" for i in range(depth)] + ["*"])

    found = [with_field(level, "{class}") for level in reversed(free)]
    return [*([with_field(free[-1], "{group}")] if has_masks else []), *found]
