"""The nearest neighbours of the rows of a sparse matrix, in blocks: no square matrix is ever whole in memory."""

from __future__ import annotations

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
    Memory: rows * neighbours, and blocks of ``BLOCK_NUMBERS`` numbers. Time grows with the square of the rows.
    """
    count = rows.shape[0]
    step = max(1, BLOCK_NUMBERS // max(count, 1))
    have = binary(rows)
    parts = []
    for start in range(0, count, step):
        block = rows[start : start + step]
        found = similarities(block, rows, measure)
        if shrinkage:
            common = (have[start : start + step] @ have.T).toarray()
            found *= common / np.maximum(common + shrinkage, 1e-12)
        found[np.arange(block.shape[0]), np.arange(start, start + block.shape[0])] = -np.inf
        best, value = best_of(found, min(neighbours, count))
        kept = (best >= 0) & (value > 0)
        row = np.repeat(np.arange(block.shape[0]), kept.sum(axis=1))
        parts.append(sp.csr_matrix((value[kept].astype(np.float32), (row, best[kept])), shape=(block.shape[0], count)))
    return sp.csr_matrix(sp.vstack(parts)) if parts else sp.csr_matrix((0, 0), dtype=np.float32)
