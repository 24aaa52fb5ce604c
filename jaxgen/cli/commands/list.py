"""`jaxgen list`: the recipes at hand."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

from jaxgen.cli import flags
from jaxgen.cli.output import table
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class List:
    """The recipes of ./experiments and those that come with jaxgen."""

    json: flags.Json = False


def run(args: Sequence[str]) -> int:
    """Run `jaxgen list`; returns its exit code."""
    options = flags.parse(List, args, "jaxgen list")
    from jaxgen.runs import recipes

    rows = recipes.listing()
    if options.json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return 0
    if not rows:
        raise UsageError("there are no recipes in ./experiments, and none came with this installation.")
    names = ("name", "presets", "model", "data", "published", "ours")
    rows = [row | {"presets": ", ".join(row.get("presets", ()))} for row in rows]
    table([[row.get(name, "") for name in names] for row in rows], names)
    return 0
