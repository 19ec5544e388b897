"""Keys as codes of sixteen bytes, compared with a query sixteen or more at a time.

Product quantization: H. Jégou, M. Douze, C. Schmid, Product Quantization for Nearest Neighbor
Search, 2011; the rotation before it: T. Ge et al., Optimized Product Quantization, 2013; four
bits a part, so that the tables stay in registers: F. André et al., Quicker ADC, 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kblam.errors import require
from kblam.knowledge import unpacked

__all__ = ["Codes", "trained"]

Single = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

_PARTS = 32  # of four bits each
_CENTRES = 16
_TRAINED_ON = 8192
_ROTATIONS = 15
_BLOCK = 16_384


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes of facts, by the order in which their keys were given.

    Attributes:
        rotation: What keys and queries are multiplied by before they meet, float32 (E, D).
        searched: The codes, a ``faiss.IndexPQFastScan``.
    """

    rotation: Single
    searched: Any

    def __len__(self) -> int:
        return int(self.searched.ntotal)

    @property
    def nbytes(self) -> int:
        """The memory they take."""
        quantizer = self.searched.pq
        codes = len(self) * int(quantizer.M) // 2
        return codes + 4 * _CENTRES * int(quantizer.d) + self.rotation.nbytes

    def best(self, queries: Single, count: int) -> Int:
        """Return the ``count`` facts that look best for each query (Q, E), best first.

        Returns:
            (Q, count), -1 where there are no more facts.
        """
        mapped = np.ascontiguousarray(queries @ self.rotation, np.float32)
        _, found = self.searched.search(mapped, min(count, len(self)))
        result: Int = found
        return result


def trained(
    keys: npt.NDArray[Any], seed: int, step: Callable[[int], None] = lambda _: None
) -> Codes:
    """Train codes, and encode all keys.

    Args:
        keys: Of M facts, at least one, as ``FactVectors`` has them.
        seed: Which keys are trained on.
        step: Told how many keys were encoded since it was last called.
    """
    faiss = require("faiss", extra="index")
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(keys))[:_TRAINED_ON])
    # A few facts are repeated, for there must be as many as there are centres.
    sample = unpacked(keys[chosen])
    sample = np.resize(sample, (max(len(chosen), _CENTRES), sample.shape[1]))
    parts = _parts(sample.shape[1])
    rotation = _rotation(faiss, sample, parts)
    # Packed for searching at the end: that takes exactly the memory that is needed.
    plain = faiss.IndexPQ(rotation.shape[1], parts, 4, faiss.METRIC_INNER_PRODUCT)
    plain.pq.cp.min_points_per_centroid = 1
    plain.train(np.ascontiguousarray(sample @ rotation))
    for start in range(0, len(keys), _BLOCK):
        block = unpacked(keys[start : start + _BLOCK])
        plain.add(np.ascontiguousarray(block @ rotation))
        step(len(block))
    return Codes(rotation, faiss.IndexPQFastScan(plain))


def _parts(dimension: int) -> int:
    """Return how many parts a key is cut into, an even number."""
    return min(_PARTS, dimension + dimension % 2)


def _rotation(faiss: Any, sample: Single, parts: int) -> Single:
    """Return the rotation (E, D) after which the parts lose least, D a multiple of them."""
    padded = np.pad(sample, ((0, 0), (0, -sample.shape[1] % parts)))
    dimension = padded.shape[1]
    quantizer = faiss.ProductQuantizer(dimension, parts, 4)
    quantizer.cp.min_points_per_centroid = 1
    matrix = faiss.OPQMatrix(dimension, parts)
    matrix.niter, matrix.niter_pq_0, matrix.niter_pq = _ROTATIONS, 5, 2
    matrix.pq = quantizer
    matrix.train(padded)
    matrix.pq = None
    found: Single = faiss.vector_to_array(matrix.A).reshape(dimension, dimension)
    return np.ascontiguousarray(found.T[: sample.shape[1]])
