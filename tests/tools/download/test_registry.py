"""The known data sets: every fact has its source, and the documentation shows them."""

from tests.paths import ROOT
from tests.tools.commands import Tools
from tools.download import facts
from tools.download.registry import Archive, DataSet, Registry, read

# Fields of which `evidence` has to say where they come from, unless they are null or empty.
ABOUT = (
    *("classes", "images", "pixels", "licence", "citation", "homepage"),
    *("mask_classes", "mask_ignore"),
)
ARCHIVE = (
    *("file", "bytes", "md5", "sha256", "unpacked_bytes"),
    *("urls", "by_hand", "root", "git_tree"),
)


def unproved(known: Registry) -> list[str]:
    """Fields without evidence, nulls without a word about them, and unknown references."""
    found = []
    for name, about in known.datasets.items():
        parts: list[tuple[str, DataSet | Archive, tuple[str, ...]]] = [(name, about, ABOUT)]
        parts += [(f"{name}/{a.file}", a, ARCHIVE) for a in about.archives]
        for where, part, fields in parts:
            found += [f"{where}: {what}" for what in unproved_of(part, fields, known.references)]
    return found


def unproved_of(
    part: DataSet | Archive, fields: tuple[str, ...], references: dict[str, str]
) -> list[str]:
    given = {name for name in fields if getattr(part, name)}
    found = [f"{name} has no evidence" for name in sorted(given - set(part.evidence))]
    found += [f"evidence of {name}, which is empty" for name in sorted(set(part.evidence) - given)]
    for keys in part.evidence.values():
        found += [f"reference {key} is not listed" for key in keys.split() if key not in references]
    optional = {"unpacked_bytes", "urls", "by_hand", "git_tree", "mask_classes", "mask_ignore"}
    # Where one of the two digests is there, the other one is no loss.
    if isinstance(part, Archive) and part.checksums:
        optional |= {"md5", "sha256"}
    for name in sorted(set(fields) - given - optional):
        if name not in part.unknown:
            found.append(f"{name} is null, and unknown says nothing of it")
    return found


def markdown(known: Registry) -> str:
    """The known data sets as the table of docs/data.md."""
    heads = ["name", "data set", "classes", "images", "pixels", "MB", "checked by", "how", "terms"]
    rows = [heads, ["---"] * len(heads)]
    for name, about in known.datasets.items():
        counts = [str(about.classes), f"{about.images:,}"]
        terms = about.licence or "none on public record"
        title = f"[{about.title}]({about.homepage})"
        rows.append([f"`{name}`", title, *counts, *facts(about), terms])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def test_every_fact_of_the_registry_has_its_source(tools: Tools) -> None:
    known = read()
    assert unproved(known) == []
    assert {"ucm", "eurosat", "nwpu", "aid", "rsscn7", "whu-rs19", "gid-mtl5", "gid-mtl15"} <= set(
        known.datasets
    )
    assert known.find("RESISC45")[0] == "nwpu"
    listed = tools("download", "--list").out
    for name, about in known.datasets.items():
        assert name in listed and f"{about.images:,}" in listed
        for archive in about.archives:
            # Something checks what comes, and something tells where it comes from.
            assert archive.checksums or archive.git_tree or not archive.urls
            assert archive.urls or archive.by_hand


def test_table_of_the_documentation() -> None:
    text = (ROOT / "docs" / "data.md").read_text("utf-8")
    assert markdown(read()) in text, "regenerate it with markdown(...) of this file"
