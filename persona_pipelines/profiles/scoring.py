"""The chosen model of a target as it is stored: numbers as JSON, estimators as plain arrays, no pickle; and what it says of users.

A score can be made again from it: ``profiles.prediction_quality`` names the version of each.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from persona_pipelines.errors import StoredModelError
from persona_pipelines.profiles.lifetime import (
    BetaGeometric,
    GammaGamma,
    ModifiedBetaGeometric,
    expected_spend,
    naive_value,
    purchases_of,
)
from persona_pipelines.profiles.plain import PlainEstimator
from persona_pipelines.profiles.points import NUMBERS, SHARES, matrix

FORMAT = 1
FILE, ARRAYS = "model.json", "arrays.npz"
PURCHASES = ("frequency", "purchase_gap_days", "purchase_recency_days", "average_order_value", "repeat_order_value")


def shift_to(probability: np.ndarray, rate: float) -> float:
    """What is to be added to the logarithms of the odds, so that their mean probability is ``rate``."""
    from scipy.optimize import brentq
    from scipy.special import expit

    odds, rate = _log_odds(probability), float(np.clip(rate, 1e-4, 1 - 1e-4))
    return float(brentq(lambda shift: expit(odds + shift).mean() - rate, -30, 30))


def shifted(probability: np.ndarray, shift: float) -> np.ndarray:
    """Probabilities with the logarithm of their odds moved."""
    from scipy.special import expit

    return expit(_log_odds(probability) + shift)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    from scipy.special import logit

    return logit(np.clip(probability, 1e-6, 1 - 1e-6))


def spent_so_far(features: pd.DataFrame) -> np.ndarray:
    """The value of all purchases, 0 without any; shape (users,)."""
    value = features["average_order_value"].to_numpy(dtype=float, na_value=np.nan) * features["frequency"].to_numpy(dtype=float)
    return np.nan_to_num(value)


@dataclass(frozen=True)
class PredictionModel:
    """A model of one target.

    Attributes:
        kind: ``classifier`` (a probability, its odds moved to the base rate to expect), ``regression`` (of the logarithm of an amount),
            ``combined`` (regressions and what was spent so far, each standardised as on the day of training), ``base_rate``, ``constant``,
            ``past_spend``, ``past_rate``, ``beta_geometric``, or ``modified_beta_geometric`` (the chance of having left).
        parameters: its numbers by name; ``factor``, which amounts are multiplied by, is 1 where it is not there.
        estimators: by name.
        attributes: columns of attributes of the customer list that the estimators have learned from.
    """

    kind: str
    parameters: Mapping[str, float]
    estimators: Mapping[str, PlainEstimator] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of ``contracts.USER_FEATURES`` and of attributes that are looked at."""
        if self.kind in ("base_rate", "constant"):
            return ("frequency",)
        if self.kind in ("classifier", "regression"):
            return (*NUMBERS, *SHARES, *self.attributes)
        if self.kind == "combined":
            return tuple(dict.fromkeys((*NUMBERS, *SHARES, *PURCHASES, *self.attributes)))
        return PURCHASES

    def times(self, factor: float) -> PredictionModel:
        """The same with amounts multiplied."""
        return replace(self, parameters={**self.parameters, "factor": self.parameters.get("factor", 1.0) * factor})

    def score(self, features: pd.DataFrame) -> np.ndarray:
        """A probability or an amount for each user, shape (users,). ``features``: ``columns``; others are not looked at."""
        known = self.parameters
        if self.kind == "base_rate":
            return np.full(len(features), known["rate"])
        if self.kind == "constant":
            return np.full(len(features), known["amount"]) * known.get("factor", 1.0)
        if self.kind == "classifier":
            said = self.estimators["classifier"].predict(matrix(features[list(self.columns)]))
            return shifted(said, known["shift"])
        if self.kind == "modified_beta_geometric":
            return self._left(features)
        return self._amounts(features) * known.get("factor", 1.0)

    def _left(self, features: pd.DataFrame) -> np.ndarray:
        buyers, customers = purchases_of(features)
        left = np.full(len(features), np.nan)
        model = ModifiedBetaGeometric(*(self.parameters[name] for name in ("r", "alpha", "a", "b")))
        left[buyers] = 1 - model.probability_alive(customers)
        return left

    def _amounts(self, features: pd.DataFrame) -> np.ndarray:
        if self.estimators:
            points = matrix(features[list(self.columns)])
            logs = {name: estimator.predict(points) for name, estimator in self.estimators.items()}
            if self.kind == "combined":
                return self.combined(logs, features)
            (log,) = logs.values()
            return np.expm1(np.maximum(log, 0))
        known = self.parameters
        buyers, customers = purchases_of(features)
        found = np.zeros(len(features))
        if not buyers.any():
            return found
        if self.kind == "past_spend":
            found[buyers] = (customers.repeats + 1) * customers.mean_value
        elif self.kind == "past_rate":
            found[buyers] = naive_value(customers, known["days"])
        else:
            purchases = BetaGeometric(*(known[name] for name in ("r", "alpha", "a", "b")))
            spend = GammaGamma(*(known[name] for name in ("p", "q", "gamma")))
            found[buyers] = expected_spend(purchases, spend, customers, known["days"])
        return np.maximum(found, 0)

    def combined(self, logs: Mapping[str, np.ndarray], features: pd.DataFrame) -> np.ndarray:
        """Forecasts that err differently, made alike by the moments of the parameters, and their mean brought back to an amount.

        Args:
            logs: of amounts, by the name of the regression, each of shape (users,).
        """
        known = self.parameters
        parts = {**logs, "so_far": np.log1p(np.maximum(spent_so_far(features), 0))}
        alike = [(value - known[f"mean.{name}"]) / known[f"deviation.{name}"] for name, value in parts.items()]
        mean = sum(alike, np.zeros(len(features))) / len(alike)
        return np.expm1(np.maximum(known["middle"] + known["spread"] * mean, 0))

    def save(self, folder: Path) -> None:
        """Arrays and JSON; no pickle, no code."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"{name}/{key}": value for name, estimator in self.estimators.items() for key, value in estimator.arrays.items()}
        np.savez_compressed(folder / ARRAYS, **arrays)  # type: ignore[arg-type]
        description = {
            "format": FORMAT,
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "estimators": {name: [estimator.kind, estimator.link] for name, estimator in self.estimators.items()},
            "attributes": list(self.attributes),
            "columns": list(self.columns),
        }
        (folder / FILE).write_text(json.dumps(description, indent=1))

    @classmethod
    def load(cls, folder: Path) -> PredictionModel:
        """Raises StoredModelError where the folder holds another format, or what is no stored model."""
        try:
            description = json.loads((folder / FILE).read_text())
            if description["format"] != FORMAT:
                raise StoredModelError(f"{folder}: prediction model of format {description['format']}; expected {FORMAT}: score again")
            with np.load(folder / ARRAYS, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            estimators = {
                name: PlainEstimator(
                    kind, link, {key.partition("/")[2]: value for key, value in arrays.items() if key.partition("/")[0] == name}
                )
                for name, (kind, link) in description["estimators"].items()
            }
            return cls(description["kind"], description["parameters"], estimators, tuple(description["attributes"]))
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise StoredModelError(f"{folder}: no stored prediction model ({' '.join(str(error).split())}): score again") from None


class _PyfuncPrediction:
    def __init__(self, model: PredictionModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        """Features in, ``prediction`` out."""
        return pd.DataFrame({"prediction": self.model.score(model_input)})


def _load_pyfunc(path: str) -> _PyfuncPrediction:
    """What MLflow calls to load a stored model: reads arrays and JSON, runs nothing from the artifact."""
    return _PyfuncPrediction(PredictionModel.load(Path(path)))
