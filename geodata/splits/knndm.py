"""Folds whose distances are those that a model will meet: k-fold nearest neighbour distance matching."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import SplitError
from geodata.splits.fractions import shuffled
from geodata.splits.making import checked_folds, coded, length_of, near_parts, refuse_empty
from geodata.splits.nearest import tree_of
from geodata.splits.places import RADIUS, lonlat, need_places, squares
from geodata.splits.split import Split
from geodata.splits.together import chains, linked, overlapping, refuse_long

__all__ = ["knndm"]

MOST = 4000
"""Points that are clustered at most: the tree of clusters needs the distances of all pairs."""

TRIED = 100
"""Numbers of clusters that are tried."""

LARGEST = 0.5
"""Share of the rows that a fold may hold."""

Points = NDArray[np.float64]


def knndm(
    catalog: Catalog, *, domain: Any, folds: int = 5, seed: int = 0, buffer: Any = None, overlap: str = "together"
) -> Split:
    """Make folds that lie as far from each other as the places where a model will be used lie from its data.

    If the data cover those places as well as themselves, folds are made by chance. Otherwise data are clustered by place
    (Ward) into k to N - 2 clusters, those are put together into k folds in the order of their first principal component, and the
    folds are taken whose nearest-neighbour distances differ least (Wasserstein) from those of the domain to the data.

    Parameters
    ----------
    catalog : Catalog
    domain : Catalog, or (M, 2) longitude and latitude, degrees: where predictions will be made
    folds : int >= 2
    seed : int, for folds by chance
    buffer, overlap : as in `kfold`; rows that overlap count as one point
        More than 4,000 points are put together first: into squares of 100 m, 200 m, 400 m... until no more are left.

    Returns
    -------
    Split
        ``recipe["wasserstein"]``, metres, says how near the two distributions are; ``recipe["clusters"]`` how many clusters
        the folds are made of (0: by chance).

    Raises
    ------
    SplitError
        If rows or domain have no place, or there are fewer points than folds.
    MissingDependencyError
        If scipy is not installed.

    References
    ----------
    .. [1] Linnenbrink, Milà, Ludwig, Meyer, kNNDM CV: k-fold nearest-neighbour distance matching cross-validation for map
       accuracy estimation, Geoscientific Model Development 17, 2024 (``knndm`` of the R package CAST).
    """
    refuse_empty(catalog)
    need_places(catalog, "matching of distances")
    folds = checked_folds(folds)
    unit, names = _points(catalog, overlap, folds)
    if len(names) < folds:
        raise SplitError(f"{len(names)} places for {folds} folds; take fewer folds")
    rows = np.bincount(unit)
    middle = _middles(_space(lonlat(catalog)), unit, len(names))
    wanted = _nearest(_space(_places(domain)), middle)
    fold, clusters, apart = _matched(middle, rows, wanted, folds, shuffled(names, seed))
    part = fold[unit]
    near = None if buffer is None else near_parts(catalog, part, length_of(catalog, buffer))
    recipe = {"method": "knndm", "folds": folds, "seed": seed, "buffer": buffer, "overlap": overlap, "clusters": clusters,
              "wasserstein": round(apart, 3), "domain": len(wanted)}  # fmt: skip
    return Split(catalog, part.astype(np.int16), tuple(f"fold{k}" for k in range(folds)), recipe, unit, near)


def _points(catalog: Catalog, overlap: str, folds: int) -> tuple[NDArray[np.int64], list[str]]:
    if overlap == "drop":
        raise SplitError(
            "overlap='drop' makes no sense here: rows that overlap are one point; take 'together' or 'allow'"
        )
    clusters = chains(*overlapping(catalog, overlap))
    refuse_long(catalog, clusters, len(catalog) / folds)
    unit, names = linked(np.arange(len(catalog)), catalog.key.tolist(), clusters)
    side = 100.0
    while len(names) > MOST:
        code, labels = coded(squares(catalog, side))
        unit, names = linked(code, labels, clusters)
        side *= 2
    return unit, names


def _places(domain: Any) -> Points:
    if isinstance(domain, Catalog):
        refuse_empty(domain)
        need_places(domain, "a domain")
        return lonlat(domain)
    array = np.asarray(domain, dtype=np.float64)
    if (
        array.ndim != 2
        or array.shape[1] != 2
        or not len(array)
        or not (np.abs(array[:, 1]) <= 90).all()
        or not np.isfinite(array).all()
    ):
        raise SplitError(
            f"the domain has shape {array.shape}, wanted a Catalog, or (M, 2) longitude and latitude in degrees, in this order"
        )
    return array


def _space(places: Points) -> Points:
    """Return (N, 3) points of a sphere, metres."""
    lon, lat = np.radians(places).T
    return RADIUS * np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _middles(space: Points, unit: NDArray[np.int64], n: int) -> Points:
    total = np.stack([np.bincount(unit, column, minlength=n) for column in space.T], axis=1)
    # To the millimetre: sums of rows in another order differ in their last bits.
    middle: Points = np.round(RADIUS * total / np.linalg.norm(total, axis=1, keepdims=True), 3)
    return middle


def _nearest(a: Points, b: Points, k: int = 1) -> Points:
    """Return (len(a),) metres along the sphere to the k-th nearest of b."""
    chord = tree_of(b).query(a, k=[k])[0][:, 0]
    arc: Points = 2 * RADIUS * np.arcsin(np.clip(chord / (2 * RADIUS), 0, 1))
    return arc


def _to_others(middle: Points, fold: NDArray[np.int64], folds: int) -> Points:
    """Return (N,) metres from each point to the nearest of another fold."""
    out = np.empty(len(middle))
    for k in range(folds):
        out[fold == k] = _nearest(middle[fold == k], middle[fold != k])
    return out


def _matched(
    middle: Points, rows: NDArray[np.int64], wanted: Points, folds: int, order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int, float]:
    """Return (N,) the fold of each point, of how many clusters they are made (0: by chance), and what distances differ by."""
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.stats import ks_2samp, wasserstein_distance

    n = len(middle)
    by_chance = np.empty(n, dtype=np.int64)
    by_chance[order] = np.arange(n) % folds
    best = by_chance, 0, float(wasserstein_distance(_to_others(middle, by_chance, folds), wanted))
    # The data lie as densely as the domain asks: nothing to match.
    if n < 2 * folds or ks_2samp(_nearest(middle, middle, k=2), wanted, alternative="greater").pvalue >= 0.05:
        return best
    tree = linkage(middle, "ward")
    tried = np.unique(np.rint(np.geomspace(folds, max(n - 2, folds), TRIED)).astype(int))
    found = []
    for count, clusters in zip(tried.tolist(), cut_tree(tree, tried).T, strict=True):
        fold = _put_together(middle, rows, clusters, folds)
        share = np.bincount(fold, rows, minlength=folds) / rows.sum()
        if share.max() <= max(LARGEST, 1.5 / folds) and share.min() > 0:
            apart = float(wasserstein_distance(_to_others(middle, fold, folds), wanted))
            found.append((round(apart, 3), count, fold))
    if not found:
        return best
    apart, count, fold = min(found, key=lambda f: f[:2])
    return (fold, count, apart) if apart < best[2] else best


def _put_together(
    middle: Points, rows: NDArray[np.int64], clusters: NDArray[np.int64], folds: int
) -> NDArray[np.int64]:
    """Put clusters into folds: large ones alone, the others in turn along the first principal component."""
    size = np.bincount(clusters, rows)
    centre = _middles(middle, clusters, len(size))
    away = centre - centre.mean(axis=0)
    axis = np.linalg.svd(away, full_matrices=False)[2][0] if len(size) > 1 else np.zeros(3)
    along = np.argsort(np.round(away @ (axis * (1 if axis[np.argmax(np.abs(axis))] > 0 else -1)), 3), kind="stable")
    large = [c for c in along.tolist() if size[c] >= rows.sum() / folds][: folds - 1]
    fold_of = np.empty(len(size), dtype=np.int64)
    fold_of[large] = np.arange(len(large))
    rest = [c for c in along.tolist() if c not in set(large)]
    fold_of[rest] = len(large) + np.arange(len(rest)) % (folds - len(large))
    out: NDArray[np.int64] = fold_of[clusters]
    return out
