"""python -m tools describe: looks at prepared data sets before training on them."""

import argparse
from pathlib import Path

from tools.common import console
from tools.common.command_line import check_ranges, describe, refused
from train.data.manifest import Manifest
from train.errors import UserError

_EPILOG = """\
Everything is read from the prepared folders; the sources are not needed. Two class names are the
same without case, separators and plural ending (parking_lot, ParkingLot, Parking Lots); names that
usually mean the same on land-use images (overpass and viaduct, harbor and port) are listed
separately as probably the same. Nothing is merged."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(
        parser,
        "Show prepared data sets: classes and splits, imbalance, the classes that several of them "
        "have, and a contact sheet (PNG) of each.",
        _EPILOG,
    )
    add = parser.add_argument
    add("folders", metavar="DIR", type=Path, nargs="+", help="prepared data sets")
    out = Path("runs/describe")
    text = f"where the sheets go: a folder, or a file for one data set (default: {out})"
    add("--out", metavar="FILE.png|FOLDER", type=Path, default=out, help=text)
    add("--images", metavar="N", type=int, help="in each row (default: as many as fit)")
    add("--seed", type=int, default=0, help="another seed, other pictures (default: 0)")
    add("--no-sheet", action="store_true", help="print the tables only, at once")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    # Imported here: drawing takes longer to load than most mistakes to find.
    from tools.describe import report

    check_ranges(arguments, {"images": (1, 100)})
    sets = {folder: Manifest.read(folder) for folder in arguments.folders}
    paths = {} if arguments.no_sheet else _paths(sets, arguments.out)
    print(report.report(sets))
    if not paths:
        return 0
    from tools.describe import contact_sheet
    from tools.describe.samples import samples

    for folder, path in paths.items():
        manifest = sets[folder]
        rows = len(manifest.classes or next(iter(manifest.masks.values())).classes)
        fitting = contact_sheet.pictures_in_row(rows, len(manifest.masks))
        per_row = arguments.images or fitting
        train = manifest.splits["train"].records
        with console.progress(f"drawing {manifest.name}", train) as advance:
            found = samples(folder, manifest, per_row, arguments.seed, advance)
        with refused(path, "cannot be written"):
            contact_sheet.draw(path, manifest, found, per_row, arguments.seed)
    print("\n" + "\n".join(f"contact sheet: {path}" for path in paths.values()))
    return 0


def _paths(sets: dict[Path, Manifest], out: Path) -> dict[Path, Path]:
    """Return a file for the sheet of every data set."""
    single = out.suffix.lower() == ".png"
    if single and len(sets) > 1:
        raise UserError(f"{out}: one file for {len(sets)} data sets: give a folder with --out")
    with refused(out, "cannot be made"):
        (out.parent if single else out).mkdir(parents=True, exist_ok=True)
    if single:
        return dict.fromkeys(sets, out)
    paths: dict[Path, Path] = {}
    for folder, manifest in sets.items():
        name = manifest.name.replace("/", "_")
        taken = {path.stem for path in paths.values()}
        free = [name, *(f"{name}-{number}" for number in range(2, len(sets) + 1))]
        paths[folder] = out / f"{next(stem for stem in free if stem not in taken)}.png"
    return paths
