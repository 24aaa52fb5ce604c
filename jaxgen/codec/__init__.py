"""Lossless storage of images, in about −log₂ p bits of a model."""

from jaxgen.codec.coding import Decompressed, check_model, compress, decompress, header

__all__ = ["Decompressed", "check_model", "compress", "decompress", "header"]
