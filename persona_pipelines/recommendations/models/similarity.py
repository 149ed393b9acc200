"""The nearest neighbours of the rows of a sparse matrix, in blocks: no square matrix is ever whole in memory."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import binary
from persona_pipelines.recommendations.models.learned import best_of

Measure = Literal["cosine", "product", "jaccard", "pearson"]
BLOCK_NUMBERS = 4_000_000


def similarities(block: sp.csr_matrix, rows: sp.csr_matrix, measure: Measure) -> np.ndarray:
    """Similarity of each row of ``block`` to each of ``rows``, shape (block, rows); 0 where they have nothing in common.

    cosine: x.y / (|x| |y|), an entry that is missing counts 0. product: x.y. jaccard: common columns over all columns of both.
    pearson: the correlation over the columns that both have; 0 for fewer than two or where either does not vary.
    """
    block_has, rows_have = binary(block), binary(rows)
    common = (block_has @ rows_have.T).toarray().astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        if measure == "jaccard":
            sizes = np.diff(block.indptr)[:, None] + np.diff(rows.indptr)[None, :]
            found = common / (sizes - common)
        elif measure == "product":
            found = (block @ rows.T).toarray()
        elif measure == "cosine":
            lengths = [np.sqrt(np.asarray(side.multiply(side).sum(axis=1), dtype=np.float64).ravel()) for side in (block, rows)]
            found = (block @ rows.T).toarray() / (lengths[0][:, None] * lengths[1][None, :])
        else:
            mine, theirs = (block @ rows_have.T).toarray(), (block_has @ rows.T).toarray()
            my_squares = (block.multiply(block).tocsr() @ rows_have.T).toarray()
            their_squares = (block_has @ rows.multiply(rows).tocsr().T).toarray()
            covariance = common * (block @ rows.T).toarray() - mine * theirs
            variances = (common * my_squares - mine**2) * (common * their_squares - theirs**2)
            # Where ratings are all equal the variance is rounding error around 0.
            found = np.where(variances > 1e-9, covariance / np.sqrt(np.maximum(variances, 1e-9)), 0.0)
            found[common < 2] = 0
    return np.where(common > 0, np.nan_to_num(found), 0.0)


def nearest(rows: sp.csr_matrix, measure: Measure, neighbours: int, shrinkage: float = 0.0) -> sp.csr_matrix:
    """The ``neighbours`` most similar other rows of each row, shape (rows, rows), only above 0.

    Similarities are multiplied by n / (n + shrinkage), n the number of common columns (Bell and Koren 2007).
    Rows that are the same are compared with the others once: of the people of most logs many turned to the same one thing.
    Memory: rows * neighbours, and blocks of ``BLOCK_NUMBERS`` numbers. Time grows with the rows times those that differ.
    """
    count = rows.shape[0]
    if not count:
        return sp.csr_matrix((0, 0), dtype=np.float32)
    kinds, kind_of = _distinct(rows)
    # One more than asked for: a row is among its own neighbours there.
    places, values = _nearest_of(kinds, rows, measure, min(neighbours + 1, count), shrinkage)
    step = max(1, BLOCK_NUMBERS // places.shape[1])
    parts = []
    for start in range(0, count, step):
        own = np.arange(start, min(start + step, count))
        best, value = places[kind_of[own]], values[kind_of[own]]
        others = best != own[:, None]
        others[others.all(axis=1), -1] = False
        kept = others & (value > 0)
        parts.append(sp.csr_matrix((value[kept], (np.nonzero(kept)[0], best[kept])), shape=(len(own), count)))
    return sp.csr_matrix(sp.vstack(parts))


def largest(matrix: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """The ``count`` largest entries of each row of a sparse matrix, those above 0; of equal ones the first by column. float32."""
    coo = sp.coo_matrix(matrix)
    order = np.lexsort((coo.col, -coo.data, coo.row))
    row, value, column = coo.row[order], coo.data[order], coo.col[order]
    starts = np.searchsorted(row, np.arange(matrix.shape[0]))
    kept = (np.arange(len(row)) - starts[row] < count) & (value > 0)
    return sp.csr_matrix((value[kept].astype(np.float32), (row[kept], column[kept])), shape=matrix.shape)


def largest_of_dense(matrix: np.ndarray, count: int) -> sp.csr_matrix:
    """The same of a dense matrix of shape (rows, columns)."""
    parts = []
    for start in range(0, len(matrix), step := max(1, BLOCK_NUMBERS // max(matrix.shape[1], 1))):
        block = matrix[start : start + step]
        best, value = best_of(block.copy(), min(count, block.shape[1]))
        kept = (best >= 0) & (value > 0)
        parts.append(sp.csr_matrix((value[kept], (np.nonzero(kept)[0], best[kept])), shape=block.shape, dtype=np.float32))
    return sp.csr_matrix(sp.vstack(parts)) if parts else sp.csr_matrix(matrix.shape, dtype=np.float32)


def _distinct(rows: sp.csr_matrix) -> tuple[sp.csr_matrix, np.ndarray]:
    """The rows that differ, in the order of their first appearance, and which of them each row is, shape (rows,)."""
    ordered = rows.sorted_indices()
    known: dict[tuple[bytes, bytes], int] = {}
    first, kind_of = [], np.empty(rows.shape[0], dtype=int)
    for place, (start, end) in enumerate(itertools.pairwise(ordered.indptr)):
        kind = (ordered.indices[start:end].tobytes(), ordered.data[start:end].tobytes())
        if kind not in known:
            first.append(place)
        kind_of[place] = known.setdefault(kind, len(known))
    return rows[first], kind_of


def _nearest_of(kinds: sp.csr_matrix, rows: sp.csr_matrix, measure: Measure, k: int, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Places and similarities of the ``k`` rows most similar to each of ``kinds``, the most similar first; both of shape (kinds, k)."""
    have = binary(rows)
    step = max(1, BLOCK_NUMBERS // rows.shape[0])
    places, values = np.empty((kinds.shape[0], k), dtype=np.int32), np.empty((kinds.shape[0], k), dtype=np.float32)
    for start in range(0, kinds.shape[0], step):
        block = kinds[start : start + step]
        found = similarities(block, rows, measure)
        if shrinkage:
            common = (binary(block) @ have.T).toarray()
            found *= common / np.maximum(common + shrinkage, 1e-12)
        places[start : start + step], values[start : start + step] = best_of(found, k)
    return places, values
