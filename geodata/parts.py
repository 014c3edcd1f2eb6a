"""Which file of an item delivers which channels of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.errors import BandsError, GridError
from geodata.readers.base import Asset

__all__ = ["Part", "by_resolution", "parts_of", "rebased", "resolution_name"]


@dataclass(frozen=True, slots=True)
class Part:
    """One asset of an image: its bands go to these channels."""

    asset: Asset
    channels: tuple[int, ...]

    @property
    def run(self) -> bool:
        """Whether the channels are consecutive, so that a file can be read straight into them."""
        return self.channels == tuple(range(self.channels[0], self.channels[0] + len(self.channels)))


def parts_of(
    assets: Sequence[Asset], wanted: Sequence[str | float] | None, nodata: float | None = None
) -> tuple[Bands, tuple[Part, ...]]:
    """Return the bands in the order wanted, and which asset delivers which channels.

    Raises
    ------
    BandsError
        If a band does not exist or nothing is asked for.
    """
    if isinstance(wanted, str):
        raise BandsError(f"bands={wanted!r} is one text; give a list of names, for example bands=[{wanted!r}]")
    known: dict[str, Band] = {}
    for band in (b for a in assets for b in a.bands):
        known.setdefault(band.name, band)
    every = Bands(known.values())
    chosen = every if wanted is None else every.select(wanted)
    if not len(chosen):
        raise BandsError("bands=[] asks for nothing; leave it out for all bands")
    parts = []
    for asset in assets:
        names = asset.bands.names
        mine = [(channel, names.index(band.name)) for channel, band in enumerate(chosen) if band.name in names]
        if not mine:
            continue
        reduced = replace(
            asset,
            bands=Bands((asset.bands[i] for _, i in mine), asset.bands.state),
            indexes=tuple(asset.indexes[i] for _, i in mine),
        )
        if nodata is not None:
            reduced = replace(reduced, validity="nodata", nodata=float(nodata))
        parts.append(Part(reduced, tuple(channel for channel, _ in mine)))
    states = {asset.bands.state for asset in assets if any(b.name in chosen for b in asset.bands)}
    return chosen.with_state(states.pop()) if len(states) == 1 else chosen, tuple(parts)


def rebased(parts: Sequence[Part], finest: int) -> tuple[Part, ...]:
    """Parts with ratios to the finest of them."""
    if any(p.asset.ratio % finest for p in parts):
        ratios = sorted({p.asset.ratio for p in parts})
        raise GridError(f"bands of {ratios} reference pixels per pixel share no lattice; ask for a finer band too")
    return tuple(replace(p, asset=replace(p.asset, ratio=p.asset.ratio // finest)) for p in parts)


def by_resolution(
    catalog: Catalog, bands: Bands, parts: Sequence[Part]
) -> dict[str, tuple[Bands, tuple[Part, ...], int]]:
    """Return bands, parts and ratio of one image per resolution, by key suffix."""
    images = {}
    for ratio in sorted({p.asset.ratio for p in parts}):
        mine = [p for p in parts if p.asset.ratio == ratio]
        channels = sorted(c for p in mine for c in p.channels)
        moved = tuple(replace(p, channels=tuple(channels.index(c) for c in p.channels)) for p in mine)
        images[resolution_name(catalog, ratio)] = Bands((bands[c] for c in channels), bands.state), moved, ratio
    return images


def resolution_name(catalog: Catalog, ratio: int) -> str:
    """Return what pixels of so many of a catalog's are called: ``_10m``, or ``_x2`` without metres."""
    crs = catalog.crs_in_use[0] if len(catalog) else None
    if crs is None or not crs.is_projected:
        return f"_x{ratio}"
    return f"_{np.hypot(catalog.affine[0, 1], catalog.affine[0, 4]) * ratio:g}m"
