"""Compare the models on a split in time, decide, and fit what was chosen on everything."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd

from persona_pipelines.features.items import interactions
from persona_pipelines.recommendations.data import Interactions, build
from persona_pipelines.recommendations.evaluation.comparison import WARM, Judged, chosen_model, compare
from persona_pipelines.recommendations.evaluation.splits import pairs_from, time_cut
from persona_pipelines.recommendations.models import FactorModel, LightFMWarp, MostPopular, Recommender
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

SPLIT = "global time"


class TooFewInteractionsError(ValueError):
    """There is not enough to learn from or to judge by; the message says how much there is and what is needed."""


def models(settings: Settings) -> list[Recommender]:
    """Every model of the comparison: the challenger first, then the baselines."""
    chosen = settings.recommendations
    return [LightFMWarp(chosen.lightfm, chosen.seed), MostPopular(), MostPopular(chosen.recent_days)]


@dataclass(frozen=True)
class Comparison:
    """What was compared on what: ``judged`` a model and case, ``cut`` where the test begins, ``winner`` by name."""

    judged: list[Judged]
    cut: dt.datetime
    winner: str
    training: pd.DataFrame
    test_pairs: int

    def table(self, settings: Settings) -> pd.DataFrame:
        """Rows of ``contracts.MODEL_COMPARISON`` but version and run."""
        return pd.DataFrame(
            {
                "model": entry.model,
                "split": SPLIT,
                "case": entry.case,
                "cut": self.cut,
                "k": settings.recommendations.k,
                "users": entry.users,
                **entry.scores.means(),
                "champion": entry.model == self.winner,
            }
            for entry in self.judged
        )


def listed_users(warehouse: Warehouse) -> pd.DataFrame:
    """Attributes of users as the customer list gives them; what only events tell is left out, so that no test leaks in."""
    users = warehouse.table(contracts.USERS)
    return warehouse.frame(users.filter(users.in_customer_list).order_by("user_id"))


def listed_items(warehouse: Warehouse) -> pd.DataFrame:
    """The catalogue; an item that only events know becomes known with its first event."""
    items = warehouse.table(contracts.ITEMS)
    return warehouse.frame(items.filter(items.in_catalogue).order_by("item_id"))


def learned_until(warehouse: Warehouse, settings: Settings, end: dt.datetime) -> tuple[Interactions, pd.DataFrame]:
    """What is known at a moment, as matrices and as a table in a stable order."""
    chosen = settings.features
    found = interactions(warehouse.table(contracts.EVENTS), settings.interaction_weights(), chosen.interaction_half_life_days, end)
    frame = warehouse.frame(found.order_by("user_id", "item_id"))
    return build(frame, listed_users(warehouse), listed_items(warehouse), pd.Timestamp(end)), frame


def compare_models(warehouse: Warehouse, settings: Settings, end: dt.datetime) -> Comparison:
    """Cut the interactions in time, fit all models before the cut, judge them after it.

    Args:
        end: events from this moment on are ignored.
    Raises:
        TooFewInteractionsError: too few interactions before the cut, or nobody to judge by after it.
    """
    chosen, weights = settings.recommendations, settings.interaction_weights()
    events = warehouse.table(contracts.EVENTS)
    positive = [name for name, weight in weights.items() if weight > 0]
    usable = events.filter(
        events.user_id.notnull() & events.item_id.notnull() & events.event_type.isin(positive) & (events.timestamp < end)
    )
    count, at = warehouse.row(usable.aggregate(count=usable.count(), at=time_cut(usable.timestamp, chosen.test_share)))
    if count < chosen.minimum_interactions:
        raise TooFewInteractionsError(
            f"{count} interactions of known users with items; recommendations.minimum_interactions is {chosen.minimum_interactions}"
        )
    cut = dt.datetime.fromtimestamp(int(at), dt.UTC).replace(tzinfo=None)
    training, frame = learned_until(warehouse, settings, cut)
    test = warehouse.frame(pairs_from(events, weights, cut, end).order_by("user_id", "item_id"))
    if frame.empty or test.empty:
        raise TooFewInteractionsError(
            f"{len(frame)} interactions before {cut:%Y-%m-%d %H:%M} and {len(test)} after it: both are needed, so events have to spread over time"
        )
    judged = compare(models(settings), training, test, listed_users(warehouse), chosen.k, chosen.exclude_seen)
    challenger, baseline = models(settings)[0].name, models(settings)[1].name
    if not any(entry.case == WARM for entry in judged):
        winner = baseline
    else:
        winner = chosen_model(judged, challenger, baseline)
    return Comparison(judged, cut, winner, frame, len(test))


def fit_on_everything(warehouse: Warehouse, settings: Settings, name: str, end: dt.datetime) -> tuple[FactorModel, pd.DataFrame]:
    """The named model, fitted on all interactions before a moment."""
    everything, frame = learned_until(warehouse, settings, end)
    model = next(model for model in models(settings) if model.name == name)
    return model.fit(everything), frame
