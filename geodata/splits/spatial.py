"""Splits by chance and by place: random, hash, blocks, cells, checkerboard, regions."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.footprint import project
from geodata.crs import CRS84, as_crs, same_crs
from geodata.errors import SplitError, SplitWarning
from geodata.splits.fractions import checked, checked_seed
from geodata.splits.making import coded, dead_zone, kept_together, length_of, near_parts, refuse_empty, said, shared_out
from geodata.splits.places import cells_of, lonlat, need_places, plane_squares, squares
from geodata.splits.split import Split
from geodata.splits.together import column_of

__all__ = ["blocks", "cells", "checkerboard", "hash", "leave_one_region_out", "random"]


def random(catalog: Catalog, *, fractions: Mapping[str, float], seed: int = 0, **options: Any) -> Split:
    """Share out rows by chance. Neighbours then sit in different parts: scores are too good, by how much nobody knows.

    Parameters
    ----------
    catalog : Catalog
    fractions : share of each part by name; they sum to 1
    seed : int
    options : ``stratify``, ``buffer``, ``group``, ``overlap`` as in `blocks`

    Warns
    -----
    SplitWarning
        If rows have a place: use `blocks` or `cells` then.
    """
    if catalog.has_crs:
        warnings.warn(
            "a random split puts neighbours into different parts, so scores will be too good; use blocks, cells or regions, "
            "and look at splits.audit",
            SplitWarning,
            stacklevel=2,
        )
    names = catalog.key.tolist()
    return shared_out(
        catalog, np.arange(len(catalog)), names, {"method": "random"}, fractions=fractions, seed=seed, **options
    )


def hash(catalog: Catalog, *, fractions: Mapping[str, float], seed: int = 0, group: Any = None) -> Split:
    r"""Put each row where the hash of its key says: it stays there however the archive grows.

    The first 8 bytes of ``sha256("<seed>\t<key>")``, as a number in [0, 1), fall into the interval of a part. Shares are
    right on average only, and neighbours are parted as at random; nothing keeps rows that overlap together.

    Parameters
    ----------
    catalog, fractions, seed : as in `random`
    group : column, several columns, or (N,) values to hash in place of the key
        Rows of one group stay together.
    """
    refuse_empty(catalog)
    wanted = checked(fractions)
    number = checked_seed(seed)
    names = catalog.key.tolist() if group is None else column_of(catalog, group).tolist()
    where = {n: hashlib.sha256(f"{number}\t{n}".encode()).digest()[:8] for n in dict.fromkeys(names)}
    place = np.array([int.from_bytes(where[n], "big") for n in names], dtype=np.uint64) / 2.0**64
    ends = np.cumsum(list(wanted.values()))[:-1]
    code = np.searchsorted(ends, place, side="right").astype(np.int16)
    recipe = {"method": "hash", "fractions": wanted, "seed": seed, "group": said(group)}
    return Split(catalog, code, tuple(wanted), recipe)


def blocks(
    catalog: Catalog,
    *,
    size: Any,
    fractions: Mapping[str, float],
    seed: int = 0,
    stratify: Any = None,
    buffer: Any = None,
    group: Any = None,
    overlap: str = "together",
) -> Split:
    """Share out square blocks of a fixed grid of equal areas.

    Parameters
    ----------
    catalog : Catalog
    size : side of a block: ``"20km"``, metres; ``"64px"`` for tiles of items without a CRS
        Rows of latitude from the equator, cut into squares from 180 degrees west: a block does not move when data are added.
    fractions : share of each part by name; they sum to 1
    seed : int
    stratify : None, column of classes (text, numbers, or lists of them), (N, K) numbers, or what `geodata.count_pixels` counted
        Parts then get about their share of each class.
    buffer : None, or a length ``"5km"``, metres; pixels (``"8px"``) without a CRS
        Rows of the larger part that lie nearer than this to a smaller one, edge to edge, go to the dead zone ``"dropped"``.
    group : None, column, several columns, or (N,) values
        Rows of one group (scene, date...) stay in one part, and so do their blocks.
    overlap : {"together", "drop", "allow"}
        Rows whose footprints share more than 1 % of the smaller stay in one part; are dropped from the larger one if they do
        not; or may leak.

    Returns
    -------
    Split
        The same on every platform, whatever the order of the rows.

    Warns
    -----
    SplitWarning
        If, before the dead zone, a part misses its fraction by more than a third of it (and by more than one row), or
        lacks a class of ``stratify``: blocks are then too few or too large.

    Raises
    ------
    SplitError
        If fractions do not sum to 1, there are fewer blocks than parts, a class cannot be in every part, a chain of rows that
        overlap is too long to share out, a column is missing, a part ends up empty, or rows have no place.
    MissingDependencyError
        If a buffer is wanted and scipy is not installed.

    Examples
    --------
    ``splits.blocks(catalog, size="50km", fractions={"train": .7, "val": .15, "test": .15}, buffer="5km")``
    """
    refuse_empty(catalog)
    code, names = coded(squares(catalog, size))
    return shared_out(
        catalog, code, names, {"method": "blocks", "size": size}, fractions=fractions, seed=seed, stratify=stratify,
        buffer=buffer, group=group, overlap=overlap,
    )  # fmt: skip


def cells(
    catalog: Catalog,
    *,
    cell: str | Callable[[NDArray[np.float64]], Any],
    fractions: Mapping[str, float],
    seed: int = 0,
    **options: Any,
) -> Split:
    """Share out the cells of a system that others use too.

    Parameters
    ----------
    cell : ``"h3:4"`` (H3 and its resolution), ``"mgrs"`` (100 km squares), or a function
        The function gets (N, 2) longitudes and latitudes of the middles, degrees, and gives (N,) names.
    catalog, fractions, seed, options : as in `blocks`

    References
    ----------
    .. [1] H3: a hierarchical hexagonal geospatial indexing system, resolution 4 has edges of 26 km.
    """
    refuse_empty(catalog)
    need_places(catalog, "a cell")
    code, names = coded(cells_of(catalog, cell))
    recipe = {"method": "cells", "cell": cell if isinstance(cell, str) else "given"}
    return shared_out(catalog, code, names, recipe, fractions=fractions, seed=seed, **options)


def checkerboard(
    catalog: Catalog,
    *,
    size: Any,
    parts: Sequence[str] = ("train", "test"),
    crs: Any = "EPSG:6933",
    buffer: Any = None,
    overlap: str = "together",
) -> Split:
    """Give the squares of a board to parts in turn.

    Parameters
    ----------
    catalog, size, buffer, overlap : as in `blocks`
    parts : names, two for the usual board
    crs : projected CRS in metres of the board
        The default, of equal areas, makes squares narrow and tall far from 30 degrees; a CRS of your region does not.
    """
    refuse_empty(catalog)
    need_places(catalog, "a checkerboard")
    if isinstance(parts, str) or len(parts) < 2 or not all(isinstance(part, str) for part in parts):
        raise SplitError(f"parts {parts!r} must be at least two names, such as ('train', 'test')")
    row, column = plane_squares(catalog, size, crs)
    part = kept_together(catalog, (row + column) % len(parts), parts, overlap)
    if buffer is not None:
        part = dead_zone(catalog, part, length_of(catalog, buffer))
    recipe = {"method": "checkerboard", "size": size, "crs": str(crs), "buffer": buffer, "overlap": overlap}
    return Split(catalog, part.astype(np.int16), tuple(parts), recipe)


def leave_one_region_out(
    catalog: Catalog, *, regions: Any, crs: Any = None, buffer: Any = None, overlap: str = "together"
) -> Split:
    """Make each region a part, to be held out in turn: ``split.fold("Austria")``.

    Parameters
    ----------
    regions : column or (N,) values, or a mapping of name to shapely geometry
        With geometries a row is in the region that its middle lies in; on the border of two, in the first by name.
    crs : CRS of the geometries; there is no default
    buffer : as in `blocks`
        Kept with the split; rows near the region that is held out go to the dead zone of its fold.
    overlap : as in `blocks`
        With ``"together"`` rows that overlap across a border go to the region where most of them are, to the first by
        name if that is a tie.

    Raises
    ------
    SplitError
        If a middle lies in no region or in several, there is only one region, or a chain of rows that overlap across a
        border takes more than half of its rows from a region.
    """
    refuse_empty(catalog)
    if isinstance(regions, Mapping):
        need_places(catalog, "a region with an outline")
        labels = _inside(catalog, regions, crs)
    else:
        labels = column_of(catalog, regions, "regions")
    code, names = coded(labels)
    if len(names) < 2:
        raise SplitError(f"all rows are in the region {names[0]!r}; there must be two to leave one out")
    part = kept_together(catalog, code, names, overlap)
    near = None if buffer is None else near_parts(catalog, part, length_of(catalog, buffer))
    recipe = {"method": "leave_one_region_out", "regions": said(regions), "buffer": buffer, "overlap": overlap}
    return Split(catalog, part.astype(np.int16), tuple(names), recipe, near=near)


def _inside(catalog: Catalog, regions: Mapping[str, Any], crs: Any) -> NDArray[np.object_]:
    system = as_crs(crs)
    if system is None:
        raise SplitError("say in which CRS the regions are, for example crs='EPSG:4326'")
    middles = lonlat(catalog)
    if not same_crs(system, CRS84):
        middles = project(middles, CRS84, system)
    points = shapely.points(middles)
    found = np.full(len(catalog), None, dtype=object)
    border = np.full(len(catalog), None, dtype=object)
    for name, outline in sorted((str(name), outline) for name, outline in regions.items()):
        shapely.prepare(outline)
        held = shapely.contains_properly(outline, points)
        twice = np.flatnonzero(held & (found != None))  # noqa: E711  (elementwise)
        if len(twice):
            raise SplitError(
                f"the middle of {catalog.key[twice[0]]!r} lies in {found[twice[0]]!r} and in {name!r}; regions must not overlap"
            )
        found[held] = name
        border[shapely.intersects(outline, points) & (border == None)] = name  # noqa: E711  (elementwise)
    on_border = found == None  # noqa: E711  (elementwise)
    found[on_border] = border[on_border]
    lost = np.flatnonzero(found == None)  # noqa: E711  (elementwise)
    if len(lost):
        raise SplitError(
            f"the middles of {len(lost)} of {len(catalog)} rows lie in no region, first {catalog.key[lost[0]]!r}; leave them out "
            "with catalog.where, or add a region"
        )
    return found
