"""The datasets that people name: any folder of files, and one short declaration per published archive."""

from geodata.datasets.archive import ArchiveDataset
from geodata.datasets.cubes import XarrayDataset
from geodata.datasets.dior import DIOR
from geodata.datasets.enmap import EnMAP
from geodata.datasets.eurosat import EuroSAT
from geodata.datasets.hsi_scenes import IndianPines, PaviaCentre, PaviaUniversity, Salinas
from geodata.datasets.hyspecnet import HySpecNet11k
from geodata.datasets.pcb_vision import PCBVision
from geodata.datasets.raster import RasterDataset
from geodata.datasets.reben import BigEarthNetV2, ReBEN
from geodata.datasets.registry import get, list
from geodata.datasets.resisc45 import RESISC45
from geodata.datasets.spectral_earth import SpectralEarth
from geodata.datasets.spectral_earth_tasks import (
    DESISCDL,
    EO1CDL,
    EnMAPBDForet,
    EnMAPBNETD,
    EnMAPCDL,
    EnMAPCorine,
    EnMAPEuroCrops,
    EnMAPNLCD,
    EnMAPTreeMap,
)
from geodata.datasets.spectral_hyperview import HyperView
from geodata.datasets.ssl4eo_s12 import SSL4EOS12
from geodata.datasets.unmixing import Cuprite, JasperRidge, Samson, UnmixingScene, Urban
from geodata.datasets.vector import VectorDataset
from geodata.datasets.vhr10 import VHR10

__all__ = [
    "DESISCDL",
    "DIOR",
    "EO1CDL",
    "RESISC45",
    "SSL4EOS12",
    "VHR10",
    "ArchiveDataset",
    "BigEarthNetV2",
    "Cuprite",
    "EnMAP",
    "EnMAPBDForet",
    "EnMAPBNETD",
    "EnMAPCDL",
    "EnMAPCorine",
    "EnMAPEuroCrops",
    "EnMAPNLCD",
    "EnMAPTreeMap",
    "EuroSAT",
    "HySpecNet11k",
    "HyperView",
    "IndianPines",
    "JasperRidge",
    "PCBVision",
    "PaviaCentre",
    "PaviaUniversity",
    "RasterDataset",
    "ReBEN",
    "Salinas",
    "Samson",
    "SpectralEarth",
    "UnmixingScene",
    "Urban",
    "VectorDataset",
    "XarrayDataset",
    "get",
    "list",
]
