"""Recipe files: described, found and built."""

from jaxgen.runs.recipes.build import build
from jaxgen.runs.recipes.file import RecipeFile, load_file
from jaxgen.runs.recipes.find import find, listing

__all__ = ["RecipeFile", "build", "find", "listing", "load_file"]
