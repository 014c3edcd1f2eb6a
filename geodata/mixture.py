"""Several datasets as one, each sample from one of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geodata.dataset import Dataset
from geodata.errors import QueryError
from geodata.query import Query

__all__ = ["Mixture"]


class Mixture(torch.utils.data.Dataset[Any]):
    """Answer queries of a `MixedSampler`: each by the dataset that ``query.source`` names.

    ``mixture[i]`` is item i of all datasets in order. Samples get ``source``, the position of their dataset. Nothing else is
    changed: where datasets make different keys or sizes, make batches of one source
    (``GroupedBatchSampler(sampler, batch_size, by="source")``).

    Parameters
    ----------
    datasets : mapping of name to dataset, or sequence
        Names are put in alphabetical order, as in `MixedSampler`; ``mixture.names[source]`` is the name.
    """

    def __init__(self, datasets: Mapping[str, Dataset] | Sequence[Dataset]) -> None:
        if not isinstance(datasets, (Mapping, Sequence)):
            raise QueryError(f"a mixture is made of several datasets, got {type(datasets).__name__}")
        named = datasets if isinstance(datasets, Mapping) else {str(i): d for i, d in enumerate(datasets)}
        self.names = tuple(sorted(named)) if isinstance(datasets, Mapping) else tuple(named)
        self.datasets = tuple(named[name] for name in self.names)
        odd = [type(d).__name__ for d in self.datasets if not isinstance(d, Dataset)]
        if odd or not self.datasets:
            raise QueryError(f"a mixture needs one dataset or more, got {', '.join(odd) or 'none'}")
        self._ends = list(accumulate(map(len, self.datasets)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indexes: Sequence[Any]) -> list[Any]:
        """Read many samples, those of one dataset together; they come in the order asked for.

        Parameters
        ----------
        indexes : queries, tuples of queries (views of one sample), or integers

        Raises
        ------
        QueryError
            If it is no index, a source is not there, or views of a sample are of different sources.
        IndexError
            If there is no such item.
        """
        found = [self._found(index) for index in indexes]
        samples: list[Any] = [None] * len(found)
        for source in sorted({source for source, _ in found}):
            at = [i for i, (of, _) in enumerate(found) if of == source]
            for i, sample in zip(at, self.datasets[source].__getitems__([found[i][1] for i in at]), strict=True):
                samples[i] = _labelled(sample, source)
        return samples

    def _found(self, index: Any) -> tuple[int, Any]:
        """Return the dataset's position and the index in it."""
        if isinstance(index, (int, np.integer)) or (isinstance(index, Tensor) and index.ndim == 0):
            n = len(self)
            if not -n <= int(index) < n:
                raise IndexError(f"item {int(index)} of a mixture with {n} items")
            item = int(index) % n
            source = bisect_right(self._ends, item)
            row = item - (self._ends[source] - len(self.datasets[source]))
            return source, Query(row=row, index=item, source=source)
        views = index if isinstance(index, tuple) and index else (index,)
        if not all(isinstance(query, Query) for query in views):
            raise QueryError(
                f"{index!r} is no index of a mixture; use an integer, a Query with a source, or a tuple of such"
            )
        sources = {query.source for query in views}
        source = views[0].source
        if len(sources) > 1:
            raise QueryError(f"views of one sample are of sources {sorted(sources)}; they must be of one")
        if not 0 <= source < len(self.datasets):
            raise QueryError(f"query names source {source} of a mixture of {len(self.datasets)} datasets")
        return source, index

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}: {d!r}" for name, d in zip(self.names, self.datasets, strict=True))
        return f"Mixture({inside})"


def _labelled(sample: Any, source: int) -> Any:
    return tuple(s | {"source": source} for s in sample) if isinstance(sample, tuple) else sample | {"source": source}
