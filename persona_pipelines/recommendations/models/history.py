"""A learned model that reads a user's history: it answers anyone who has done something, known in training or not."""

from __future__ import annotations

import numpy as np

from persona_pipelines.recommendations.data import Audience, binary
from persona_pipelines.recommendations.models.learned import LearnedModel


class HistoryModel(LearnedModel):
    """State:
        weights: shape (items, items) or (items, d), dense or sparse.
        back: shape (d, items), where ``weights`` leads to d dimensions and not to items.
        decay: where it is there, each item of the history counts this to the power of its place from the newest (``Audience.recent``);
            else each counts 1.

    Scores are history @ weights (@ back).
    """

    kind = "history"

    @property
    def knows_order(self) -> bool:
        """Whether what was done last counts most."""
        return "decay" in self.state

    def answers(self, audience: Audience) -> np.ndarray:
        return audience.active()

    def scores(self, audience: Audience) -> np.ndarray:
        history = audience.recent(float(self.state["decay"])) if self.knows_order else binary(audience.history)
        found = history @ self.state["weights"]
        if "back" in self.state:
            found = found @ self.state["back"]
        return np.ascontiguousarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float32)
