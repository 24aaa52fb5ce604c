"""Image data: descriptions that load checked uint8 arrays, and the transforms that run inside the compiled step."""

from jaxgen.data.arrays import digits, idx, npz
from jaxgen.data.binarized_mnist import binarized_mnist
from jaxgen.data.dataset import Dataset, Source, Split, Transform
from jaxgen.data.picture_folder import folder
from jaxgen.data.scenes import scenes
from jaxgen.data.source import source
from jaxgen.data.text import stories, text
from jaxgen.data.tfds import tfds
from jaxgen.data.transforms import dynamic_binarization, flipped, labelled, partly_labelled, requantised

__all__ = [
    "Dataset",
    "Source",
    "Split",
    "Transform",
    "binarized_mnist",
    "digits",
    "dynamic_binarization",
    "flipped",
    "folder",
    "idx",
    "labelled",
    "npz",
    "partly_labelled",
    "requantised",
    "scenes",
    "source",
    "stories",
    "text",
    "tfds",
]
