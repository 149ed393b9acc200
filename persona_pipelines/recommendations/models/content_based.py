"""Items whose text is like that of the user's history."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.settings.recommendations import ContentBasedSettings


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
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(max_features=self.settings.maximum_terms, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106
        try:
            vectors = sp.csr_matrix(vectorizer.fit_transform(interactions.texts), dtype=np.float32)
        except ValueError:
            raise ModelError("no item has a title, category or brand: map them in a source of kind items") from None
        state = {"weights": vectors, "back": sp.csr_matrix(vectors.T)}
        return HistoryModel(self.name, interactions.users, interactions.items, interactions.digest, state)
