"""What was decoded before look-alikes were found, kept for the next run.

Look-alikes are only known once everything has been decoded. Where they end the run, the user
decides about them and runs it again: then only what has changed since is decoded.
"""

import contextlib
import json
import shutil
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.prepare.options import Options
from tools.prepare.rerun import spaces_as_json
from tools.prepare.source_masks import Spaces
from train.errors import UserError
from train.files import read_json

SPOOL = "spool"
_ABOUT = "decoded.json"
_EARLIER = "earlier"
# A picture is as it was if its file and its masks are, by size and time of change.
_SAME = """
ATTACH DATABASE '{}' AS earlier;
CREATE INDEX masks_by_key ON masks (key);
CREATE INDEX earlier.earlier_masks_by_key ON masks (key);
CREATE TEMP TABLE same AS SELECT now.id AS id, was.id AS old FROM samples AS now
    JOIN earlier.samples AS was USING (key, bytes, mtime) WHERE NOT EXISTS (
        SELECT space, path, bytes, mtime FROM masks WHERE key = now.key EXCEPT
        SELECT space, path, bytes, mtime FROM earlier.masks WHERE key = now.key);
INSERT INTO thumbs SELECT same.id, thumb FROM same
    JOIN earlier.thumbs AS was ON was.id = same.old;
"""


class LookAlikes(UserError):
    """Pictures that look the same are in different splits."""


def place(out: Path) -> Path:
    """Return the folder in which is kept what was decoded for a data set."""
    return out.with_name(f"{out.name}.decoded")


def keep(work: Path, options: Options, spaces: Spaces) -> None:
    """Keep the folder of a catalogue for the next run, in the place of an older one."""
    (work / _ABOUT).write_text(json.dumps(_about(options, spaces)))
    forget(options.out)
    with contextlib.suppress(OSError):
        work.rename(place(options.out))


def forget(out: Path) -> None:
    """Remove what is kept for a data set."""
    if (place(out) / _ABOUT).is_file():
        shutil.rmtree(place(out), ignore_errors=True)


def reuse(catalogue: Catalogue, options: Options, spaces: Spaces) -> None:
    """Fill ``pictures`` and ``thumbs`` with what was decoded earlier in the same way.

    Their bytes become the start of the spool. The folder that was kept is used up.
    """
    earlier = place(options.out)
    try:
        same = read_json(earlier / _ABOUT) == _about(options, spaces)
    except (OSError, ValueError):
        return
    if not same:
        return
    # Where an interrupted run is cleaned up too.
    folder = earlier.rename(catalogue.folder / _EARLIER)
    catalogue.script(_SAME.format(str(folder / "catalogue.sqlite").replace("'", "''")))
    columns = [name for (name,) in catalogue.rows("SELECT name FROM pragma_table_info('pictures')")]
    names = ", ".join(columns[1:])
    catalogue.run(
        f"INSERT INTO pictures SELECT same.id, {names} FROM same "
        "JOIN earlier.pictures AS was ON was.id = same.old ORDER BY same.id"
    )
    catalogue.script("DROP TABLE same; DETACH DATABASE earlier; DROP INDEX masks_by_key;")
    (folder / SPOOL).replace(catalogue.folder / SPOOL)
    shutil.rmtree(folder)


def _about(options: Options, spaces: Spaces) -> object:
    """Return all that decoding depends on besides the files, as JSON gives it back."""
    from importlib.metadata import version

    decoding = options.recipe, spaces_as_json(spaces), version("pillow"), version("numpy")
    return json.loads(json.dumps(decoding, default=vars))
