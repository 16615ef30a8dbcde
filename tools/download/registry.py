"""The known data sets: where they are, how large, with which checksums, on whose word."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from train.config.yaml_text import read_yaml
from train.errors import UserError

BUILT_IN = Path(__file__).with_name("datasets.yaml")


class _Proved(BaseModel, extra="forbid", frozen=True):
    """Facts from public records.

    Attributes:
        evidence: For every field, keys of ``Registry.references``.
        unknown: What stands in no public record.
    """

    evidence: dict[str, str] = {}
    unknown: str = ""


class Archive(_Proved, frozen=True):
    """One archive that holds the whole data set.

    Attributes:
        file: Its name, None where no record says it.
        unpacked_bytes: Size of the files in ``root``.
        urls: Addresses of the same bytes, tried in order.
        by_hand: Pages where a person has to fetch it.
        root: Folder in it that becomes the data set's, with wildcards; None: look for it.
        git_tree: Git's id of that folder, which tells its whole content.
    """

    file: str | None = None
    bytes: int | None = Field(None, gt=0)
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    unpacked_bytes: int | None = Field(None, gt=0)
    urls: list[Annotated[str, Field(pattern=r"^(https?|ftp)://[^\s/@?#]+/[!-?A-~]*$")]] = []
    by_hand: list[str] = []
    root: str | None = None
    git_tree: str | None = Field(None, pattern="^[0-9a-f]{40}$")

    @property
    def checksums(self) -> dict[str, str]:
        """The known digests of the file by algorithm."""
        known = {"md5": self.md5, "sha256": self.sha256}
        return {name: digest for name, digest in known.items() if digest}


class DataSet(_Proved, frozen=True):
    """One data set.

    Attributes:
        title: Its usual name; ``aliases`` are others that the command line takes.
        kind: Class folders only, or folders of images and of masks with class folders in each.
        classes: Number of scene classes.
        pixels: Image size in words.
        licence: Licence or terms, None where none is on record.
        archives: Archives that hold it, the best first.
        mask_classes: Names of the classes of the masks, in the order of their values from 0.
        mask_ignore: Value of the pixels that have no class.
    """

    title: str
    kind: Literal["scene", "scene and masks"]
    classes: int = Field(gt=1)
    images: int = Field(gt=1)
    pixels: str
    licence: str | None
    citation: str | None
    homepage: str
    archives: list[Archive] = Field(min_length=1)
    mask_classes: list[str] = []
    mask_ignore: int | None = None
    aliases: list[str] = []

    @property
    def images_in(self) -> str:
        """Folder, relative to the data set's, that holds the class folders of images."""
        return "image" if self.kind == "scene and masks" else "."


class Registry(BaseModel, extra="forbid", frozen=True):
    """All known data sets by name.

    Attributes:
        references: What was read, by the key that ``evidence`` uses.
        datasets: The data sets.
    """

    references: dict[str, str] = {}
    datasets: dict[str, DataSet]

    def find(self, name: str) -> tuple[str, DataSet]:
        """Return a data set by its name or another one of it, whatever the case.

        Raises:
            UserError: It is not known; the message lists the names that are.
        """
        wanted = name.lower().replace("_", "-")
        for known, about in self.datasets.items():
            if wanted in (known, *about.aliases):
                return known, about
        raise UserError(f"{name}: not a known data set (known: {', '.join(self.datasets)})")


def read(path: Path = BUILT_IN) -> Registry:
    """Read a registry.

    Raises:
        UserError: The file is missing or does not fit; the message says where.
    """
    try:
        return Registry.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {where}: {first['msg']}") from None
