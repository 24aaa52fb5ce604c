"""What files and folders call their splits, in any letter case."""

from __future__ import annotations

from collections.abc import Iterable

from jaxgen.core.errors import UsageError

NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
}


def split_of(name: str) -> str | None:
    """The split that a name means, "train", "valid" or "test"; None for any other word."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def by_split(names: Iterable[str], where: object) -> dict[str, str]:
    """The name of each split among names of which others mean none. Raises `UsageError` where two mean the same, with
    `where` they lie."""
    named: dict[str, str] = {}
    for name in sorted(names):
        split = split_of(name)
        if split in named:
            raise UsageError(
                f"{where}: both {named[split]!r} and {name!r} name its {split} split, which wants one of them: "
                "merge them, or rename one"
            )
        if split is not None:
            named[split] = name
    return {split: named[split] for split in NAMES if split in named}
