"""Archives as Zarr: converted once, read as quickly as memory allows, opened by other tools too."""

from geodata.store.convert import convert
from geodata.store.export_rasters import export_geotiff
from geodata.store.export_records import export_lmdb
from geodata.store.opened import StoreDataset, open_store
from geodata.store.verify import Verdict, verify

__all__ = ["StoreDataset", "Verdict", "convert", "export_geotiff", "export_lmdb", "open_store", "verify"]
