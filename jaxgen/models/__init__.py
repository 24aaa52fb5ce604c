"""The models: one system per file, its nets, its losses and its samplers."""

from jaxgen.models.dcgan import DCGAN
from jaxgen.models.diagonal import DiagonalBiLSTM
from jaxgen.models.pixelcnn import PixelCNN
from jaxgen.models.rowlstm import RowLSTM
from jaxgen.models.vae import VAE

__all__ = ["DCGAN", "VAE", "DiagonalBiLSTM", "PixelCNN", "RowLSTM"]
