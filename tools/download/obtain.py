"""One data set: from a source, or a file that the user fetched, to a folder of pictures."""

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.common import console
from tools.common.output_folder import check_free, whole_folder
from tools.download import check
from tools.download.fetch import Part, Policy, Unavailable, fetch
from tools.download.registry import Archive, DataSet
from tools.download.unpack import Damaged, unpack
from train.errors import UserError

# Beside the pictures: what they were made of. Hidden, so that prepare does not look at it.
ABOUT = ".download.json"
# What prepare wants to know of the masks.
MASK_CLASSES = "mask_classes.json"


class Failed(Exception):
    """No source gave the data set: nobody's mistake."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for, as ``--help`` says of the options of the same names."""

    out: Path
    archive: Path | None
    keep_archive: bool
    overwrite: bool
    policy: Policy


def obtain(name: str, about: DataSet, options: Options) -> str:
    """Make ``options.out/name``; return what to tell the user.

    Raises:
        UserError: It exists and is something else, cannot be fetched by a program, or the user's
            file is not the data set.
        Failed: No source gave it.
    """
    folder = options.out / name
    if not options.overwrite and _is_whole(folder, about):
        return f"{folder}: already there and complete\n{_next(name, about, folder)}"
    check_free(folder, options.overwrite, _is_ours)
    if options.archive is not None:
        archive = check.recognise(options.archive, about.archives)
        path = options.archive
        told = _unpack(name, path, archive, about, folder, options.overwrite)
    else:
        archive, path = _fetched(name, about, options)
        try:
            told = _unpack(name, path, archive, about, folder, options.overwrite)
        except Damaged:
            # With digests it is what the record promises, and fetching it again helps nobody.
            if not archive.checksums:
                path.unlink()
            raise
        if not options.keep_archive:
            path.unlink()
    checked = [*archive.checksums, *(["git's tree id"] if archive.git_tree else [])]
    how = f"checked by {' and '.join(checked)}" if checked else "no digest is on public record"
    note = f"note: the names in {path.name} are not UTF-8; they were read as {told}\n"
    return (
        f"{folder}: {about.images} images in {about.classes} classes; {how}, and counted\n"
        f"{note if told else ''}"
        f"terms: {about.licence or 'none on public record'}; cite: {about.citation or '?'}\n"
        f"{_next(name, about, folder)}"
    )


def _fetched(name: str, about: DataSet, options: Options) -> tuple[Archive, Path]:
    failures = []
    for archive in about.archives:
        if archive.urls and archive.file:
            target = options.out / archive.file
            if _is_there(target, archive):
                return archive, target
            part = Part(target)
            for url in archive.urls:
                host = url.split("/")[2]
                try:
                    with console.transfer(f"{name} from {host}") as moved:
                        fetch(url, part, archive.bytes, options.policy, moved)
                    check.check_archive(part.path, archive)
                except (Unavailable, check.Mismatch) as error:
                    if isinstance(error, check.Mismatch):
                        part.drop()
                    failures.append(f"{host}: {error}")
                    continue
                part.finish()
                return archive, target
    pages = " or ".join(page for archive in about.archives for page in archive.by_hand)
    by_hand = f"fetch it by hand from {pages}, then: python -m tools download {name} --archive FILE"
    if not failures:
        raise UserError(f"{name}: cannot be fetched by a program: {by_hand}")
    raise Failed("; ".join(failures) + (f"; or {by_hand}" if pages else ""))


def _is_there(target: Path, archive: Archive) -> bool:
    """Return whether an earlier call has left the whole archive. What is wrong is removed."""
    if not target.is_file():
        return False
    try:
        check.check_archive(target, archive)
    except check.Mismatch:
        target.unlink()
        return False
    return True


def _unpack(
    name: str, path: Path, archive: Archive, about: DataSet, folder: Path, overwrite: bool
) -> str | None:
    """Make ``folder``; return as what the names in the archive were read if they are not UTF-8."""
    root = archive.root
    try:
        with whole_folder(folder, overwrite, _is_ours) as made:
            inner = made / ".unpacked" if root is None else made
            inner.mkdir(exist_ok=True)
            with console.progress(f"unpacking {name}", about.images) as advance:
                told = unpack(path, inner, root, archive.unpacked_bytes, advance)
            if root is None:
                # Move the class folders to the top and forget what was around them.
                classes = check.find_class_folders(inner, about.classes)
                classes = classes.rename(made / ".classes")
                shutil.rmtree(inner, ignore_errors=True)
                for each in sorted(classes.iterdir()):
                    each.rename(made / each.name)
                classes.rmdir()
            if archive.git_tree and check.git_tree(made) != archive.git_tree:
                raise check.Mismatch("its content is not what git's tree id says")
            check.check_content(made, about)
            note = {"name": name, "archive": path.name, **check.digests(path)}
            (made / ABOUT).write_text(json.dumps(note, indent=2) + "\n", "utf-8")
            if about.mask_classes:
                (made / MASK_CLASSES).write_text(json.dumps(about.mask_classes) + "\n", "utf-8")
    except check.Mismatch as error:
        raise Damaged(f"{path}: not {about.title}: {error}") from None
    return told


def _is_ours(folder: Path) -> bool:
    return (folder / ABOUT).is_file()


def _is_whole(folder: Path, about: DataSet) -> bool:
    try:
        check.check_content(folder, about)
    except check.Mismatch:
        return False
    return _is_ours(folder)


def _next(name: str, about: DataSet, folder: Path) -> str:
    """Return the command that prepares it."""
    command = ["python", "-m", "tools", "prepare", str(folder / about.images_in)]
    if about.mask_classes:
        command += ["--masks", f"cover={folder / 'label_gray'}"]
        command += ["--mask-classes", f"cover={folder / MASK_CLASSES}"]
        command += ["--ignore", f"cover={about.mask_ignore}"]
    return f"next: {shlex.join([*command, '--out', f'data/records/{name}'])}"
