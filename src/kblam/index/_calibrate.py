"""How many of the codes' best have to be looked at, found out by asking."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kblam.errors import require
from kblam.index._codes import Codes
from kblam.knowledge import unpacked

__all__ = ["disturbed", "exact_best", "least_width"]

Single = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

_BLOCK = 16_384
_AT_ONCE = 16
# Where the search for the width begins, as a share of all facts, and how it goes on.
_FIRST = 1 / 32
# Of a query made up from a key: its cosine with that key.
_COSINE = 0.8


def disturbed(keys: npt.NDArray[Any], count: int, seed: int) -> Single:
    """Make up queries (count, E) from keys of M facts, at a cosine of .8 from one each.

    They lean towards another fact's key: for facts in real embeddings this is as hard to
    search for as real questions, and leaning in a random direction is harder.
    """
    generator = np.random.default_rng(seed)
    near, far = (unpacked(keys[generator.integers(len(keys), size=count)]) for _ in "ab")
    near /= np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-12)
    far -= (far * near).sum(axis=1, keepdims=True) * near
    far /= np.maximum(np.linalg.norm(far, axis=1, keepdims=True), 1e-3)
    made: Single = _COSINE * near + np.float32(np.sqrt(1 - _COSINE**2)) * far
    return made


def exact_best(keys: npt.NDArray[Any], queries: Single, wanted: int) -> Int:
    """Return the positions of the best of M keys for each query, (Q, min(wanted, M))."""
    faiss = require("faiss", extra="index")
    queries = np.ascontiguousarray(queries, np.float32)
    wanted = min(wanted, len(keys))
    scores = np.empty((len(queries), 0), np.float32)
    places = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(keys), _BLOCK):
        block = unpacked(keys[start : start + _BLOCK])
        found, where = faiss.knn(
            queries, block, min(wanted, len(block)), metric=faiss.METRIC_INNER_PRODUCT
        )
        scores = np.concatenate([scores, found], axis=1)
        places = np.concatenate([places, where + start], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :wanted]
        scores = np.take_along_axis(scores, best, axis=1)
        places = np.take_along_axis(places, best, axis=1)
    return places


def least_width(codes: Codes, queries: Single, best: Int, recall: float) -> tuple[int, float]:
    """Return the least number of facts that holds enough of the exactly best ones.

    Args:
        codes: What is searched.
        queries: (Q, E), at least one.
        best: The exactly best facts of each, (Q, W).
        recall: Which share of them is to be found.

    Returns:
        The number, and the share that it finds.
    """
    depth = max(best.shape[1], int(len(codes) * _FIRST), 1)
    while True:
        depth = min(depth, len(codes))
        ranks = np.sort(_ranks(codes, queries, best, depth).ravel())
        needed = int(np.ceil(recall * len(ranks))) - 1
        if ranks[needed] < depth or depth == len(codes):
            width = min(int(ranks[needed]) + 1, len(codes))
            return width, float((ranks < width).mean())
        depth *= 4


def _ranks(codes: Codes, queries: Single, best: Int, depth: int) -> Int:
    """Return where each of the best stands among what the codes find, ``depth`` if nowhere."""
    result = np.full(best.shape, depth, np.int64)
    rank_of = np.full(len(codes), depth, np.int64)
    for start in range(0, len(queries), _AT_ONCE):
        found = codes.best(queries[start : start + _AT_ONCE], depth)
        for query, row in enumerate(found, start):
            row = row[row >= 0]
            rank_of[row] = np.arange(len(row))
            result[query] = rank_of[best[query]]
            rank_of[row] = depth
    return result
