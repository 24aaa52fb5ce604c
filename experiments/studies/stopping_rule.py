"""When to stop Deep Image Prior: the variance of outputs against the best step and a fixed one, over several pictures.

    python experiments/studies/stopping_rule.py --images PICTURE.png …
    python experiments/studies/stopping_rule.py --images FOLDER --preset small --crop 128 --steps 2000 --fixed 1000

Each picture is damaged here (`--task`, noise of σ = 25 by default) and restored for all `--steps` by the recipe
`deep_image_prior`, a run each. On its course are compared, in PSNR of the averaged output to the original:

    best     the step of the highest PSNR, which only who has the original can know
    fixed    a step that is the same for all
    rule     the average at the least variance, once it has not fallen for `--patience` evaluations (the recipe's)

The loss of a stop is the best less its own PSNR, as evaluations see it, every `--evaluate_every` steps. It writes a
table, `stopping_rule.json` and the picture `stopping_rule.png`. The same command again goes on where it stopped. Flags
that are not listed here are the recipe's knobs.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
NEVER = 10**9
"""Evaluations without a smaller variance after which a run of the study ends: it goes on to its last step."""


def main(args: Sequence[str] | None = None) -> int:
    """Restore, compare, draw; the exit code of the first run that did not end, or 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="whole pictures, or folders of them")
    parser.add_argument("--task", default="denoise", choices=("denoise", "superres", "inpaint", "jpeg"))
    parser.add_argument("--steps", type=int, default=3000, help="of each run (default 3000)")
    parser.add_argument("--fixed", type=int, default=1800, help="the fixed step (default 1800, the paper's for noise)")
    parser.add_argument("--patience", type=int, default=10, help="evaluations of the rule (default 10, the recipe's)")
    parser.add_argument("--out", type=Path, default=Path("runs/stopping_rule"), help="where everything goes")
    options, knobs = parser.parse_known_args(args)
    if not 0 < options.fixed <= options.steps or options.patience < 1:
        parser.error("--fixed is from 1 to --steps, and --patience at least 1")
    from experiments.studies.resumed import begin, check
    from jaxgen.cli.main import main as jaxgen
    from jaxgen.core.errors import UsageError
    from jaxgen.core.files import write_json
    from jaxgen.data.picture_folder import picture_files
    from jaxgen.pictures import curves
    from jaxgen.runs.log import read_log

    pictures = [file for path in options.images for file in (picture_files(path) if path.is_dir() else [path])]
    names = [file.stem for file in pictures]
    if not pictures or len({*names}) < len(names):
        parser.error(f"--images wants pictures of several names, got {', '.join(names) or 'none'}")
    settings = {"task": options.task, "steps": options.steps, "knobs": knobs}
    try:
        check(options.out, settings)
    except UsageError as error:
        parser.error(str(error))
    rows, courses = [], {}
    for name, file in zip(names, pictures):
        words = ["--image", str(file), "--damage", "--task", options.task, "--steps", str(options.steps), *knobs]
        words += ["--patience", str(NEVER), "--run", str(options.out / name)]
        code = jaxgen(["train", str(ROOT / "experiments/one_image/deep_image_prior.py"), *words])
        if code:
            return code
        begin(options.out, settings)
        course = [r for r in read_log(options.out / name / "metrics.jsonl") if r.get("split") == "valid"]
        rows.append({"image": name, **compared(course, options.fixed, options.patience)})
        courses[name] = course
        about = {**settings, "fixed": options.fixed, "patience": options.patience}
        write_json(options.out / "stopping_rule.json", {"settings": about, "rows": rows, "mean": means(rows)})
    sys.stdout.write(table(rows))
    title = f"{options.task}, {len(rows)} pictures"
    curves.save(curves.course(panels(courses), {}, "step", title), options.out / "stopping_rule.png")
    return 0


def compared(course: Sequence[Mapping[str, Any]], fixed: int, patience: int) -> dict[str, float]:
    """The best stop, the fixed one (the last evaluation up to that step) and the rule's on a run's evaluations."""
    best = max(course, key=lambda record: record["psnr"])
    still = [record for record in course if record["step"] <= fixed] or course[:1]
    least, since, rule = math.inf, 0, course[-1]
    for record in course:
        since = 0 if record["least_variance"] < least else since + 1
        least = min(least, record["least_variance"])
        if since >= patience:
            rule = record
            break
    figures = {"best": best["psnr"], "fixed": still[-1]["psnr"], "rule": rule["psnr_stopped"]}
    losses = {f"{name}_loss": figures["best"] - figures[name] for name in ("fixed", "rule")}
    return {**figures, **losses, "best_step": best["step"], "rule_step": rule["step"], "last": course[-1]["psnr"]}


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of each figure over pictures."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0] if name != "image"}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each picture and their mean, in Markdown; PSNR in dB."""
    lines = ["| picture | best, at step | fixed, loss | rule, loss, ended at | last |", "|---|---|---|---|---|"]
    for row in [*rows, {"image": "mean", **means(rows)}]:
        lines.append(
            f"| {row['image']} | {row['best']:.2f}, {row['best_step']:,.0f} | {row['fixed']:.2f}, "
            f"{row['fixed_loss']:.2f} | {row['rule']:.2f}, {row['rule_loss']:.2f}, {row['rule_step']:,.0f} | "
            f"{row['last']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def panels(courses: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """PSNR below its best, and the variance over its least, of each picture: does the one turn where the other does?"""
    psnr, variance = {}, {}
    for name, course in courses.items():
        best, least = max(r["psnr"] for r in course), min(r["least_variance"] for r in course)
        psnr[name] = [(float(r["step"]), r["psnr"] - best) for r in course]
        variance[name] = [(float(r["step"]), r["variance"] / least) for r in course]
    return {"PSNR less its best, dB": psnr, "variance over its least": variance}


if __name__ == "__main__":
    sys.exit(main())
