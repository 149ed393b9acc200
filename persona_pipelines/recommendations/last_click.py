"""How much the last items of a person count beside a list that knows nothing of them: the rule of the live lists, and what is chosen for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from persona_pipelines.errors import StoredModelError
from persona_pipelines.intervals import Interval

LISTED = 100
"""Items of each person that are kept of a model whose scores do not follow the last click."""
RECENT = 50
"""Items of a person that a live list looks at, the newest ones."""
SHARES = tuple(tenth / 10 for tenth in range(11))
"""Of the last items in a list, the rest is the model's."""
BOTH_ALIKE = 0.5
"""The share where no other is ahead of it beyond doubt: who clicks sees the list react, and where it was measured that cost next to nothing."""
FILE = "last_click.json"


@dataclass(frozen=True)
class LastClick:
    """The share of the last items, chosen on the validation window.

    Attributes:
        share: from 0, the model's list alone, to 1, the last items alone.
        gain: in nDCG at ``k`` over both counting alike, of people each judged by the share that was best for the other half of them; None where
            it could not be measured.
        people, lists: judged by; lists are those after somebody had done something in the window.
        reason: why this share, in words.
    """

    share: float
    gain: Interval | None
    people: int
    lists: int
    k: int
    reason: str

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> LastClick:
        """What stands beside a stored model; of one that was made before any share was chosen, that nothing was measured.

        Raises:
            StoredModelError: it cannot be read.
        """
        if not (folder / FILE).exists():
            return unmeasured("the model was made before shares were measured", 0, 0, 0)
        try:
            content: Mapping[str, object] = json.loads((folder / FILE).read_text())
            gain = content["gain"]
            return cls(**{**content, "gain": Interval(**gain) if isinstance(gain, dict) else None})  # type: ignore[arg-type]
        except (ValueError, TypeError, KeyError) as error:
            raise StoredModelError(f"{folder / FILE}: found {error}; expected what a training writes there: train again") from None


def unmeasured(why: str, people: int, lists: int, k: int) -> LastClick:
    """The share where nothing could be measured."""
    return LastClick(BOTH_ALIKE, None, people, lists, k, f"not measured: {why}")


def beside(listed: np.ndarray, merit: np.ndarray, items: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A model's list and what the last items lead to, each scaled from 0 for its lowest to 1 for its highest.

    Args:
        listed, items: positions of items, each once; ``merit``, ``scores``: of each.
    Returns:
        The items of both, rising, and for each the scaled ``merit`` and the scaled ``scores``, 0 where it is not among them.
    """
    both = np.union1d(listed, items)
    first, second = np.zeros(len(both)), np.zeros(len(both))
    first[both.searchsorted(listed)] = _scaled(merit)
    second[both.searchsorted(items)] = _scaled(scores)
    return both, first, second


def _scaled(scores: np.ndarray) -> np.ndarray:
    """Between 0 for the lowest and 1 for the highest; 1 where all are alike."""
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    return (scores - low) / (high - low) if high > low else np.ones(len(scores))
