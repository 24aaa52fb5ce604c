"""The models: one system per file, its nets, its losses and its samplers."""

from jaxgen.models.attribute_reader import AttributeReader
from jaxgen.models.classifier import ConvClassifier
from jaxgen.models.energy.meg import MEG
from jaxgen.models.flow.glow import Glow
from jaxgen.models.flow.nice import NICE
from jaxgen.models.flow.realnvp import RealNVP
from jaxgen.models.gan.base import GAN
from jaxgen.models.gan.conditional import ConditionalGAN
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.gan.inverter import Inverter
from jaxgen.models.gan.lapgan import LAPGAN
from jaxgen.models.gan.pix2pix import Pix2Pix
from jaxgen.models.gan.semisupervised import SemiSupervisedGAN
from jaxgen.models.gan.text_to_image import TextToImage
from jaxgen.models.latent.autoencoder import AutoEncoder
from jaxgen.models.latent.few_labels import FewLabels
from jaxgen.models.latent.iwae import IWAE
from jaxgen.models.latent.vae import VAE
from jaxgen.models.latent.vib import VIB
from jaxgen.models.latent.vq_prior import VQPrior
from jaxgen.models.latent.vqvae import VQVAE
from jaxgen.models.one_image.deep_image_prior import DeepImagePrior
from jaxgen.models.one_image.memoriser import Memoriser
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.gated import GatedPixelCNN
from jaxgen.models.pixel.multiscale import MultiScale
from jaxgen.models.pixel.pixelcnnpp import PixelCNNPlusPlus
from jaxgen.models.pixel.pixelrnn import DiagonalBiLSTM, PixelCNN, RowLSTM
from jaxgen.models.pixel.pixelsnail import PixelSNAIL
from jaxgen.models.text.skipthought import SkipThought

__all__ = [
    "DCGAN",
    "GAN",
    "IWAE",
    "LAPGAN",
    "MEG",
    "NICE",
    "VAE",
    "VIB",
    "VQVAE",
    "AttributeReader",
    "AutoEncoder",
    "ConditionalGAN",
    "ConvClassifier",
    "DeepImagePrior",
    "DiagonalBiLSTM",
    "FewLabels",
    "GatedPixelCNN",
    "Glow",
    "Inverter",
    "Memoriser",
    "MultiScale",
    "OrderEnsemble",
    "Pix2Pix",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "PixelSNAIL",
    "RealNVP",
    "RowLSTM",
    "SemiSupervisedGAN",
    "SkipThought",
    "TextToImage",
    "VQPrior",
]
