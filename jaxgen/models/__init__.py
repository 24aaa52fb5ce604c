"""The models: one system per file, its nets, its losses and its samplers."""

from jaxgen.models.dcgan import DCGAN
from jaxgen.models.diagonal import DiagonalBiLSTM
from jaxgen.models.ensemble import OrderEnsemble
from jaxgen.models.gated import GatedPixelCNN
from jaxgen.models.multiscale import MultiScale
from jaxgen.models.pixelcnn import PixelCNN
from jaxgen.models.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixelsnail import PixelSNAIL
from jaxgen.models.rowlstm import RowLSTM
from jaxgen.models.vae import VAE

__all__ = [
    "DCGAN",
    "VAE",
    "DiagonalBiLSTM",
    "GatedPixelCNN",
    "MultiScale",
    "OrderEnsemble",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "PixelSNAIL",
    "RowLSTM",
]
