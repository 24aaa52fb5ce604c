"""Recipe files: described, found and built."""

from jaxgen.runs.recipes.build import Execution, build, execution
from jaxgen.runs.recipes.file import RecipeFile, load_file
from jaxgen.runs.recipes.find import find, listing

__all__ = ["Execution", "RecipeFile", "build", "execution", "find", "listing", "load_file"]
