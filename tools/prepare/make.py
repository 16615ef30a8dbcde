"""The making of a prepared data set: pictures in, shards and a manifest out, or nothing at all."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.duplicates import pairs
from tools.common.output_folder import check_free, whole_folder
from tools.prepare import decode, decoded, output, rerun
from tools.prepare.findings import findings
from tools.prepare.options import DEFAULT_RATIOS, Options, check_options
from tools.prepare.source_folders import Found
from tools.prepare.source_masks import Spaces, read_spaces
from tools.prepare.source_table import Table
from tools.prepare.sources import find
from tools.prepare.splits import make_splits
from train.data.manifest import Manifest, RecordSet
from train.errors import UserError
from train.temporary import temporary_folder

# What the manifest says of a picture that was left out.
_SKIPPED = ("key", "bytes", "mtime_ns", "sha256", "reason")


def prepare(options: Options) -> Manifest:
    """Make the prepared data set ``options.out``, whole or not at all.

    Raises:
        UserError: An option, a table or a picture is no good; nothing is left behind, except where
            pictures that look the same are why: a list of them, and what was decoded.
    """
    check_options(options)
    check_free(options.out, options.overwrite, rerun.is_prepared)
    table = Table(options.table) if options.table else None
    spaces = read_spaces(options, table)
    others = [pairs.open_prepared(folder) for folder in options.against]
    with whole_folder(options.out, options.overwrite, rerun.is_prepared) as folder:
        # Within the new folder, so that it goes with it whatever happens.
        work = folder / "work"
        work.mkdir()
        with closing(Catalogue(work)) as catalogue:
            found = find(catalogue, options, spaces, table)
            try:
                manifest = _fill(folder, catalogue, found, spaces, others, options)
            except decoded.LookAlikes:
                decoded.keep(work, options, spaces)
                raise
        shutil.rmtree(work)
        manifest.write(folder)
    _forget_report(options.out)
    decoded.forget(options.out)
    return manifest


def already_made(options: Options) -> Manifest | None:
    """Return the manifest of ``options.out`` if it is whole and what would be made again.

    Nothing is decoded.

    Raises:
        UserError: It is there, but damaged, or options or source have changed since.
    """
    if options.overwrite or not rerun.is_prepared(options.out):
        return None
    check_options(options)
    try:
        manifest = pairs.open_prepared(options.out).manifest
    except UserError as error:
        raise UserError(f"{error} (--overwrite replaces it)") from None
    table = Table(options.table) if options.table else None
    spaces = read_spaces(options, table)
    others = [pairs.open_prepared(folder) for folder in options.against]
    rerun.check_options(options.out, manifest, rerun.arguments(options, spaces, others))
    with temporary_folder() as work, closing(Catalogue(work)) as catalogue:
        found = find(catalogue, options, spaces, table)
        rerun.check_source(options, manifest, catalogue, spaces, found.has_splits)
    return manifest


def _fill(
    to: Path,
    catalogue: Catalogue,
    found: Found,
    spaces: Spaces,
    others: Sequence[RecordSet],
    options: Options,
) -> Manifest:
    """Write the shards of every split into folder ``to``; return their manifest."""
    # Imported here, as every worker process would wait for it.
    from importlib.metadata import version

    source = str(options.src)
    decode.take_in(catalogue, options, spaces)
    catalogue.run("INSERT INTO owners VALUES (0, ?)", options.set_name)
    catalogue.run(
        "INSERT INTO prints SELECT id, 0, split, key, NULL, pixels, hash "
        "FROM samples JOIN pictures USING (id)"
    )
    pairs.find_pairs(catalogue, others)
    if not found.has_splits:
        together = options.duplicates == "together"
        make_splits(catalogue, options.ratios or DEFAULT_RATIOS, options.seed, together)
    counts = _check_duplicates(catalogue, options, found.has_splits)
    _check_train(catalogue, source)
    mean, std = output.statistics(catalogue, source)
    made = output.Output(to, catalogue, spaces)
    splits, listing = made.write(options.shards)
    skipped = (
        "SELECT key, bytes, mtime, sha256, reason FROM skipped JOIN samples USING (id) ORDER BY id"
    )
    warnings = [*found.warnings, *findings(catalogue, options, spaces)]
    quality = options.quality if options.format == "jpeg" else None
    image = {"format": options.format, "size": options.size, "quality": quality, **made.extent}
    return Manifest(
        name=options.set_name,
        classes=made.classes,
        image=image,
        mean=mean,
        std=std,
        splits=splits,
        listing=listing,
        source={
            "path": options.source_name or source,
            "layout": found.layout,
            "options": rerun.arguments(options, spaces, others),
            "warnings": list(map(_printable, warnings)),
            "skipped": [dict(zip(_SKIPPED, row, strict=True)) for row in catalogue.rows(skipped)],
        },
        command=options.command,
        masks=made.masks,
        notes={
            "ignored_files": found.ignored,
            "unreadable_skipped": catalogue.value("SELECT count(*) FROM skipped"),
            "duplicates_across_splits": counts.across,
            "duplicates_within_splits": counts.within,
            "duplicates_elsewhere": counts.elsewhere + counts.elsewhere_across,
            "duplicates_elsewhere_across_splits": counts.elsewhere_across,
        },
        versions={package: version(package) for package in ("mindspore", "pillow", "numpy")},
    )


def _printable(text: str) -> str:
    """Write names that are not UTF-8, of files that are no pictures, with escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _check_duplicates(catalogue: Catalogue, options: Options, has_splits: bool) -> pairs.Counts:
    """Tell of pictures that look the same, and refuse those in different splits."""
    counts = pairs.count_pairs(catalogue)
    if counts.leaks and options.duplicates != "allow":
        path = _report_path(options.out)
        pairs.write_pairs(path, catalogue)
        shown = pairs.pairs_line(catalogue)
        advice = "remove one of each, or pass --duplicates allow"
        if options.duplicates == "refuse" and not has_splits:
            advice += ", or together to have them put into the same split"
        raise decoded.LookAlikes(
            f"{options.src}: {counts.leaks} pair(s) of pictures that look the same in different "
            f"splits: {shown} (all are in {path}; {advice}; what "
            f"was decoded is kept in {decoded.place(options.out)} for the next run)"
        )
    if counts != pairs.Counts(0, 0, 0, 0):
        print(pairs.pairs_table(catalogue))
    return counts


def _report_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.duplicates.csv")


def _forget_report(out: Path) -> None:
    """Remove the list that an earlier refusal left, as it is no longer true."""
    path = _report_path(out)
    if path.is_file():
        with path.open("rb") as file:
            ours = file.readline() == pairs.HEADER.encode()
        if ours:
            path.unlink()


def _check_train(catalogue: Catalogue, source: str) -> None:
    """Raise a UserError that names the classes without a train picture, if there are any."""
    query = (
        "SELECT class FROM samples LEFT JOIN pictures USING (id) GROUP BY class "
        "HAVING sum(split = 'train' AND pictures.id IS NOT NULL) = 0 ORDER BY class"
    )
    without = [name for (name,) in catalogue.rows(query)]
    if without == [""]:
        raise UserError(f"{source}: no train picture")
    if without:
        shown = ", ".join(without[:5]) + (" ..." if len(without) > 5 else "")
        raise UserError(f"{source}: no train picture in {len(without)} class(es): {shown}")
