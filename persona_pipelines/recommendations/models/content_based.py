"""Items whose text is like that of the user's history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.settings.recommendations import ContentBasedSettings

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


WORD = r"(?u)\b\w+\b"
"""Words of one character count: sizes, and writings without blanks."""


def has_words(texts: Sequence[str]) -> bool:
    return any(re.search(WORD, text) for text in texts)


def vectorizer(maximum_terms: int | None = None, vocabulary: Sequence[str] | None = None) -> TfidfVectorizer:
    """TF-IDF with a logarithm of the counts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(max_features=maximum_terms, vocabulary=vocabulary, sublinear_tf=True, token_pattern=WORD)


def text_vectors(texts: Sequence[str], maximum_terms: int | None = None) -> sp.csr_matrix:
    """The TF-IDF of each text, rows of length 1 or 0, shape (texts, words); no columns where no text has a word."""
    if not has_words(texts):
        return sp.csr_matrix((len(texts), 0), dtype=np.float32)
    return sp.csr_matrix(vectorizer(maximum_terms).fit_transform(texts), dtype=np.float32)


class ContentBased:
    """TF-IDF of titles, categories and brands (Salton and Buckley 1988; Lops et al. 2011 for the profile of a user).

    The score of an item is the sum of its cosine similarity to each item of the history. Says something of items that nobody
    has turned to yet.

    Cost: one pass over the texts; memory of the words in them.
    """

    def __init__(self, settings: ContentBasedSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> HistoryModel:
        vectors = text_vectors(interactions.texts, self.settings.maximum_terms)
        if not vectors.shape[1]:
            raise ModelError("no item has a title, category or brand: map them in a source of kind items")
        state = {"weights": vectors, "back": sp.csr_matrix(vectors.T)}
        return HistoryModel(self.name, interactions.users, interactions.items, interactions.digest, state)
