"""Masks that lie among the pictures of a source: found by their names, to ask about them.

Folders such as ``images`` and ``masks`` side by side would be taken for classes, and masks for
pictures. Here is found out with which options they can be told apart.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from tools.common.catalogue import Catalogue
from tools.prepare.layout import split_of, split_pattern
from tools.prepare.options import Options
from train.errors import UserError

_MASK_WORDS = re.compile(
    r"(masks?|labels?|annotations?|gts?|truths?|groundtruths?|segmentation\w*)"
)
_SAMPLE = 400
_TRIED = 20

# Patterns of the names of pictures and of masks, without their endings.
Names = tuple[str, str]
SAME: Names = ("{name}", "{name}")


def ask_about_masks(catalogue: Catalogue, options: Options, paths: list[list[str]]) -> None:
    """Refuse a source that holds masks beside its pictures, with the command that is right.

    Args:
        catalogue: Its table ``files`` holds the pictures, the masks among them.
        options: Of these, the source and the command.
        paths: The folders that hold any.
    """
    for path in paths:
        for level, name in enumerate(path):
            if is_mask_name(name):
                above = path[:level]
                beside = sorted({p[level] for p in paths if len(p) > level and p[:level] == above})
                plain = [other for other in beside if not is_mask_name(other)]
                _ask_about_folders(catalogue, options, paths, above, plain, name)
    _ask_about_files(catalogue, options)


def is_mask_name(name: str) -> bool:
    """Return whether a name has a word in it that stands for masks."""
    return any(_MASK_WORDS.fullmatch(word) for word in re.findall("[a-z]+", name.lower()))


def _ask_about_folders(
    catalogue: Catalogue,
    options: Options,
    paths: list[list[str]],
    above: list[str],
    plain: list[str],
    mask_name: str,
) -> None:
    """Refuse if a folder of masks belongs to one of the folders beside it."""
    masks = _files(catalogue, [*above, mask_name])
    if not above:
        # A folder of masks in that of the pictures, which it mirrors.
        images = [f for f in _files(catalogue, []) if not is_mask_name(f.split("/")[0])]
        if plain and common_names(images, masks) == SAME:
            command = options.command_with("--masks", str(options.src / mask_name), *_CLASSES)
            _refuse(options, [mask_name], plain[:1], command)
    for name in plain:
        images = _files(catalogue, [*above, name])
        names, deep = common_names(images, masks), images[0].count("/")
        if names is None or deep > 1:
            continue
        if not above and names == SAME and not split_pattern(name):
            found = ["--masks", str(options.src / mask_name)]
            command = options.command_with(*found, *_CLASSES, src=options.src / name)
        else:
            scenes = {image.split("/")[0] for image in images if deep}
            scene = "".join(f"{only}/" for only in scenes) if len(scenes) < 2 else "{class}/"
            file = "*" if names[0] == "{name}" else names[0] + common_ending(images)
            # Folders such as "train" and "train_labels": the same for all splits.
            split, mask_split = split_pattern(name), split_pattern(mask_name)
            here, there = (split, mask_split) if split and mask_split else (name, mask_name)
            like = _with_both(paths, len(above), name, mask_name)
            layout = "/".join([*_levels(like, "{group}"), here, f"{scene}{file}"])
            mask = names[1].replace("{name}", "{stem}") if file == "*" else names[1]
            mask = f"{{parent}}/{'../' * (deep + 1)}{there}/{scene}{mask}{common_ending(masks)}"
            command = options.command_with("--layout", layout, "--masks", mask, *_CLASSES)
        _refuse(options, [*above, mask_name], [*above, name], command)


def _with_both(paths: list[list[str]], level: int, name: str, mask_name: str) -> list[list[str]]:
    """Return the folders of a level in which lie a folder of pictures and one of masks."""
    found = {(*path[:level], path[level]) for path in paths if len(path) > level}
    above = sorted({path[:-1] for path in found})
    return [[*a] for a in above if (*a, name) in found and (*a, mask_name) in found]


def _ask_about_files(catalogue: Catalogue, options: Options) -> None:
    """Refuse if folders hold pictures and, by the names of the files, masks of them."""
    masks: dict[str, list[str]] = {}
    for (key,) in catalogue.rows("SELECT key FROM files ORDER BY key"):
        folder, file = posixpath.split(key)
        if is_mask_name(posixpath.splitext(file)[0]):
            masks.setdefault(folder, []).append(file)
    for folder, files in masks.items():
        path = folder.split("/") if folder else []
        images = [f for f in _files(catalogue, path) if "/" not in f and f not in set(files)]
        names = common_names(images, files) if images else None
        if names is not None:
            like = [f.split("/") for f in masks if f and f.count("/") == folder.count("/")]
            layout = "/".join([*_levels(like, "{class}"), names[0] + common_ending(images)])
            mask = f"{{parent}}/{names[1]}{common_ending(files)}"
            command = options.command_with("--layout", layout, "--masks", mask, *_CLASSES)
            _refuse(options, [*path, files[0]], [*path, images[0]], command)


_CLASSES = "--mask-classes", "FILE"


def _refuse(options: Options, masks: list[str], images: list[str], command: str) -> None:
    scenes = "; {class} in place of {group}, if those are classes" if "{group}" in command else ""
    raise UserError(
        f"{options.src}: {'/'.join(masks)} looks like masks of {'/'.join(images)}: {command} "
        '(in FILE the names of their classes, such as {"water": "#0000ff"} or {"water": 1}'
        f"{scenes})"
    )


def _files(catalogue: Catalogue, path: Sequence[str]) -> list[str]:
    """Return the pictures in a folder and deeper, sorted, as paths from there."""
    start = "".join(f"{part}/" for part in path)
    # "0" comes next to "/".
    query = "SELECT key FROM files WHERE key >= ? AND (key < ? OR ? = '') ORDER BY key"
    found = catalogue.rows(query, start, f"{start[:-1]}0", start)
    return [key[len(start) :] for (key,) in found]


def common_ending(files: list[str]) -> str:
    """Return the ending that most of the files have."""
    return Counter(posixpath.splitext(file)[1] for file in files).most_common(1)[0][0]


def _levels(paths: list[list[str]], free: str) -> list[str]:
    """Return a pattern of the folders at every level of some paths of one length."""
    found: list[str] = []
    for names in map(set, zip(*paths, strict=True)):
        only = "{split}" if all(map(split_of, names)) else ""
        found.append(names.pop() if len(names) == 1 else only or "*")
    if "*" in found:
        # The deepest folders of many names.
        found[len(found) - 1 - found[::-1].index("*")] = free
    return found


def common_names(images: list[str], masks: list[str]) -> Names | None:
    """Return how the names of pictures and masks are made of a common ``{name}``, if they are.

    Pictures without masks, or masks without pictures, do no harm.
    """
    if len(masks) < len(images):
        names = common_names(masks, images)
        return names and (names[1], names[0])
    stems = {posixpath.splitext(mask)[0] for mask in masks}
    sample = [posixpath.splitext(image)[0] for image in images[:_SAMPLE]]
    folder, first = posixpath.split(sample[0]) if sample else ("", "")
    near = [base for where, base in map(posixpath.split, sorted(stems)) if where == folder]
    start = max((_common(first, base) for base in near), key=len, default="")
    end = max((_common(first[::-1], base[::-1])[::-1] for base in near), key=len, default="")
    candidates: list[Names] = []
    for base in near:
        if base == first:
            candidates.insert(0, SAME)
        elif start and base.startswith(start):
            common = len(start.rstrip("_-. ")) or len(start)
            candidates.append((f"{{name}}{first[common:]}", f"{{name}}{base[common:]}"))
        elif end and base.endswith(end):
            candidates.append((f"{first[: -len(end)]}{{name}}", f"{base[: -len(end)]}{{name}}"))
    for names in candidates[:_TRIED]:
        if sum(_mask_of(stem, names) in stems for stem in sample) * 2 > len(sample):
            return names
    return None


def _common(one: str, other: str) -> str:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(letter for letter, _ in same)


def _mask_of(stem: str, names: Names) -> str | None:
    folder, base = posixpath.split(stem)
    start, end = names[0].split("{name}")
    if not (base.startswith(start) and base.endswith(end)):
        return None
    name = base[len(start) : len(base) - len(end)]
    return posixpath.join(folder, names[1].replace("{name}", name))
