"""The command line. This file imports nothing heavy: `jaxgen --help` answers before jax could be imported.

Exit codes: 0 done; 1 the work failed (divergence, a fault of ours); 2 something that the user can mend (the command,
its input, the disk); 130, 143 and 129 after Ctrl-C, SIGTERM and the end of the terminal, with a training run saved;
141 where nobody reads the result. Errors are one sentence on standard error; `--debug` adds the traceback. What a
program would read is on standard output, as JSON with `--json`; progress goes to standard error, if that is there.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence

from jaxgen import __version__
from jaxgen.core.errors import UsageError, nearest
from jaxgen.core.streams import Unbroken, ensure_streams, silence

COMMANDS = {
    "train": ("RECIPE [--knob value …]", "train a model; the same command again resumes"),
    "sample": ("RUN", "draw images from a trained model"),
    "evaluate": ("RUN", "score a split: nats and bits per dimension"),
    "complete": ("RUN --images … --keep …", "fill in the missing part of images"),
    "surprise": ("RUN --images …", "heat maps of the bits of each pixel"),
    "rank": ("RUN IMAGES", "images by their likelihood, the likeliest first"),
    "anomaly": ("RUN --against DATA", "how well a model tells its own images from other data"),
    "field": ("RUN", "the effective receptive field of the centre"),
    "interpolate": ("RUN", "images on the way from one latent code to another"),
    "walk": ("RUN", "a walk from code to code, as a strip or moving"),
    "traverse": ("RUN", "what each number of a latent code does"),
    "arithmetic": ("RUN A B C", "sums of latent codes: concept A less B plus C"),
    "responses": ("RUN", "what excites the features of a GAN's critic"),
    "remove": ("RUN BOX …", "an object taken out of all that a generator draws"),
    "edit": ("RUN --strokes …", "an image changed by strokes, on what a generator draws"),
    "nearest": ("RUN", "samples beside the training images nearest to them"),
    "probe": ("RUN", "labels read off a critic, codes or features, and off pixels"),
    "embed": ("RUN IMAGES", "the representations of images, and a picture of them"),
    "embed-text": ("RUN FILE", "the vectors of sentences, the nearest, and what lies between two"),
    "reconstruct": ("RUN IMAGES", "images beside what their representations keep of them"),
    "translate": ("RUN IMAGES", "images drawn from other images: from edges, labels, gray"),
    "restore": ("TASK PICTURE -o …", "a damaged picture: noise, few pixels, missing ones, artefacts of JPEG"),
    "compress": ("RUN IMAGES …", "store images without loss, by the model's likelihood"),
    "decompress": ("RUN FILE", "give them back"),
    "inspect": ("RECIPE | RUN", "parameters, capabilities, cost of a step"),
    "verify": ("RECIPE | RUN", "whether the model is the distribution that it says it is"),
    "bench": ("RECIPE", "compile time, speed, share of the peak, memory"),
    "runs": ("[FOLDER]", "the runs at hand: how far, how good, in which state"),
    "compare": ("RUN RUN …", "curves of runs in one picture, and what differs between them"),
    "list": ("", "the recipes at hand, with published and own figures"),
    "data": ("list | prepare | show", "what data there are, and how to get more"),
}
"""Each command's arguments and what it does; `jaxgen.cli.commands.NAME` runs it, with _ for -."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    ensure_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × or ─ is no reason to fail
    before = sys.stderr
    sys.stderr = Unbroken(before)  # type: ignore[assignment]
    try:
        return _guarded([_at_home(arg) for arg in (sys.argv[1:] if argv is None else argv)])
    finally:
        sys.stderr = before


def _guarded(args: Sequence[str]) -> int:
    """The exit code of a command, whatever it meets."""
    debug = "--debug" in args
    # The cache only saves time: one that cannot be written or read is no reason to speak.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    args = [arg for arg in args if arg != "--debug"]
    try:
        return _command(args)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    except KeyboardInterrupt:
        return _fail("stopped.", 130, debug)
    except BrokenPipeError:
        silence(sys.stdout)  # the reader has gone: say no more to it
        return 141
    except UsageError as error:
        return _fail(_absent(error) or str(error), 2, debug)
    except OSError as error:
        return _fail(_storage(error), 1, debug)
    except Exception as error:
        absent = _absent(error)
        return _fail(absent or _fault(error), 2 if absent else 1, debug)


def usage() -> str:
    """The text of `jaxgen --help`."""
    width = max(len(f"{name} {args}") for name, (args, _) in COMMANDS.items()) + 2
    rows = "\n".join(f"  {f'{name} {args}':<{width}}{does}" for name, (args, does) in COMMANDS.items())
    return f"""usage: jaxgen COMMAND …

Deep generative models of images: trained, sampled, scored.

{rows}

`jaxgen COMMAND --help` lists a command's flags; `jaxgen train RECIPE --help` those of a recipe.
  --debug    with any command: show the traceback of an error
  --version  print the version

Try: jaxgen list
"""


def _command(args: list[str]) -> int:
    if not args:
        sys.stderr.write(usage())
        return 2
    name, *rest = args
    if name in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0
    if name == "--version":
        sys.stdout.write(f"jaxgen {__version__}\n")
        return 0
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}.{nearest(name, COMMANDS)} Commands: {', '.join(COMMANDS)}.")
    module = importlib.import_module(f"jaxgen.cli.commands.{name.replace('-', '_')}")
    code: int = module.run(rest)
    sys.stdout.flush()
    return code


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"jaxgen: {' '.join(message.split())}\n")
    return code


def _storage(error: OSError) -> str:
    """What the operating system refused, and the way out where it is known."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        full = "a file has grown to its limit" if error.errno == errno.EFBIG else "the disk is full"
        return f"{full}{where}: free some space and give the same command again; what was saved is kept."
    return f"{error.strerror or error}{where}."


def _absent(error: Exception) -> str:
    """What to do where `JAX_PLATFORMS` names devices that are not here, or nothing where the error is another."""
    named, jax = os.environ.get("JAX_PLATFORMS", ""), sys.modules.get("jax")
    if not named or jax is None or not isinstance(error.__cause__ or error, RuntimeError | AssertionError):
        return ""
    try:
        jax.devices()
        return ""
    except (RuntimeError, AssertionError):
        pass
    return (
        f"JAX_PLATFORMS is {named!r}, and jax finds no such devices here: unset it, set it to cpu, or install jax for "
        "them (`--debug` shows what jax says)."
    )


def _at_home(word: str) -> str:
    """A word of the command line with `~` as the user's home where a path begins: a shell leaves `--run=~/a` and
    `npz:~/a.npz` alone, and a container's command has none."""
    match = re.fullmatch(r"(?s)((?:--?[\w-]+=)?(?:[a-z_]+:)?)(~.*)", word)
    return match[1] + os.path.expanduser(match[2]) if match else word


def _fault(error: Exception) -> str:
    """A failure that is not the user's mistake: a run that diverged says so itself, the rest is named."""
    if type(error).__name__ == "Diverged":
        return str(error)
    return f"{type(error).__name__}: {error} (`--debug` shows where)."
