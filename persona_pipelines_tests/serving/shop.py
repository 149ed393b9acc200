"""A simulated shop whose truth is known: people of different activity and taste, many lists a person, few baskets that are very large."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.serving.experiments import Experiment, made, variant_of
from persona_pipelines.serving.exposures import TOTALS, Exposed

STARTED = dt.datetime(2025, 10, 1)
DAYS = 14


def experiment(**changes) -> Experiment:
    """Half and half by click rate, but for ``changes``."""
    planned = {
        "name": "bolder",
        "salt": "0123456789abcdef",
        "started": STARTED,
        "metric": "click_rate",
        "effect": 0.1,
        "people": 2_000,
        "days": DAYS,
        "variants": [{"name": "control", "share": 0.5}, {"name": "bold", "share": 0.5}],
    }
    return made(**{**planned, **changes})


@dataclass(frozen=True)
class Shop:
    """What people did until the end of each day: arrays of shape (people, days), cumulated; ``variant``: of each person by number."""

    variant: np.ndarray
    names: tuple[str, ...]
    lists: np.ndarray
    clicks: np.ndarray
    conversions: np.ndarray
    revenue: np.ndarray

    def exposed(self, day: int = DAYS) -> Exposed:
        """As the tables would say it at the end of a day, from 1; people who had no list yet are not known."""
        at = {name: getattr(self, name)[:, day - 1].astype(float) for name in ("lists", "clicks", "conversions", "revenue")}
        shown = at["lists"] > 0
        columns = {
            **at,
            "list_revenue": at["revenue"],
            "bought": (at["conversions"] > 0).astype(float),
            "variant": pd.Categorical.from_codes(self.variant, list(self.names)),
        }
        totals = pd.DataFrame({name: columns[name][shown] for name in ("variant", *TOTALS)})
        return Exposed(totals, 0, STARTED + dt.timedelta(days=day))


def opened(
    chance: np.random.Generator, chosen: Experiment, people: int, *, clicks: float = 0.0, baskets: float = 0.0, days: int = DAYS
) -> Shop:
    """A shop that is open for some days.

    Args:
        people: who come, each for the first time on one of the days, most on the first ones.
        clicks: how much more often those of the variants beside the control click, relative; ``baskets``: how much larger theirs are.
    """
    names = tuple(variant.name for variant in chosen.variants)
    ids = chance.bytes(16 * people).hex()
    variant = np.array([names.index(variant_of(chosen, ids[32 * n : 32 * n + 32]).name) for n in range(people)])
    treated = variant > 0
    first = np.minimum(chance.geometric(0.15, people) - 1, days - 1)
    activity = chance.gamma(0.7, 1.0, people)
    came = np.arange(days) >= first[:, None]
    lists = chance.poisson(activity[:, None], (people, days)) * came
    lists[np.arange(people), first] += 1
    taste = chance.beta(1.5, 6, people)
    clicked = chance.binomial(lists, np.minimum(taste * (1 + clicks * treated), 1)[:, None])
    bought = chance.binomial(clicked, 0.2)
    amounts = (
        chance.lognormal(3, 1.3, int(bought.sum())) * chance.lognormal(0, 0.5, people)[np.repeat(np.arange(people), bought.sum(axis=1))]
    )
    cell = np.repeat(np.arange(people * days), bought.ravel())
    revenue = np.bincount(cell, amounts, people * days).reshape(people, days) * (1 + baskets * treated[:, None])
    return Shop(variant, names, *(np.cumsum(each, axis=1) for each in (lists, clicked, bought, revenue)))
