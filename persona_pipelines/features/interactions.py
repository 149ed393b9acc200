"""How much each user cares for each item: what was done, how much of it, how well it was liked, and how long ago."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir

from persona_pipelines.days import end_of
from persona_pipelines.features.exact import exact_mean, exact_sum
from persona_pipelines.features.users import known_until
from persona_pipelines.settings import Settings
from persona_pipelines.settings.stages import InteractionLevel

MOST_HALVINGS = 20.0
SMALLEST_WEIGHT = 1e-9
WEIGHT_UNITS = 10**12
"""Sums of weights are exact to this part: what has been halved twenty times is not rounded away."""
MOST_IMPORTANCE = 100.0
"""One event that was next to never shown is not to outweigh all others."""
LARGEST_FACTOR = 1e3
"""An amount makes an event count for this many times as much at most: one record of a million pieces is not a million people."""
LARGEST_STRENGTH = 1e6
"""Of one event, so that sums stay exact in 64 bits."""
FEW_RATINGS = 5
"""Of a person with fewer ratings the own middle says little: theirs is everyone's, where that is higher."""
TOLERANCE = 1e-9


@dataclass(frozen=True)
class InteractionRules:
    """What an event says of an item.

    Attributes:
        weights: of event types; other types say nothing.
        half_life_days: after which an event counts half.
        levels: by event type, how the amount of an event changes its weight.
    """

    weights: Mapping[str, float]
    half_life_days: float
    levels: Mapping[str, InteractionLevel] = field(default_factory=dict)

    @property
    def own_middle(self) -> bool:
        """Whether what a person rated below the own middle is nothing good."""
        level = self.levels.get("rating")
        return level is not None and level.scale == "own_middle"


def rules_of(settings: Settings) -> InteractionRules:
    return InteractionRules(settings.interaction_weights(), settings.features.interaction_half_life_days, settings.interaction_levels())


def strengths(events: ir.Table, rules: InteractionRules) -> ir.Table:
    """The events of known users with items and of a type with a weight, with ``strength``, ``importance`` and ``liked``.

    ``strength`` is the type's weight times the factor of its level, before time makes it less. ``importance`` is one over the
    propensity with which the item was shown (inverse propensity weighting, Horvitz and Thompson 1952), brought to 1 on average over the events with
    a propensity and cut at ``MOST_IMPORTANCE``; 1 where none is logged: what is seldom shown is clicked seldom for that alone. ``liked`` is False for every event of
    a pair whose mean rating lies below the person's own middle: the mean of the person's ratings, and of people with fewer than
    ``FEW_RATINGS`` everyone's where that is higher. A pair without ratings is liked.
    """
    known = events.filter(events.user_id.notnull() & events.item_id.notnull() & events.event_type.isin(list(rules.weights)))
    weight = ibis.cases(*((known.event_type == name, ibis.literal(float(number))) for name, number in rules.weights.items()), else_=0.0)
    factors = [(known.event_type == name, _factor(known, level)) for name, level in rules.levels.items() if name in rules.weights]
    known = known.mutate(strength=weight * ibis.cases(*factors, else_=ibis.literal(1.0)) if factors else weight)
    inverse = 1 / known.propensity
    usual = known.aggregate(usual=exact_mean(inverse, known.propensity.notnull() & (known.strength > 0)))
    weighed = known.cross_join(usual)
    relative = 1 / weighed.propensity / weighed.usual
    importance = ibis.cases((relative.isnull(), 1.0), (relative > MOST_IMPORTANCE, MOST_IMPORTANCE), else_=relative)
    known = weighed.mutate(importance=importance).drop("usual")
    rated = events.filter(events.user_id.notnull() & events.item_id.notnull() & (events.event_type == "rating") & events.value.notnull())
    everyone = rated.aggregate(everyone=exact_mean(rated.value))
    people = rated.group_by("user_id").aggregate(own=exact_mean(rated.value), ratings=rated.count()).cross_join(everyone)
    middle = ibis.ifelse(people.ratings < FEW_RATINGS, ibis.greatest(people.own, people.everyone), people.own)
    people = people.select("user_id", middle=middle)
    pairs = rated.group_by("user_id", "item_id").aggregate(pair_rating=exact_mean(rated.value))
    below = pairs.join(people, "user_id").filter(lambda both: both.pair_rating < both.middle - TOLERANCE)
    below = below.select(below_user="user_id", below_item="item_id")
    joined = known.left_join(below, (known.user_id == below.below_user) & (known.item_id == below.below_item))
    return joined.mutate(liked=joined.below_user.isnull()).drop("below_user", "below_item")


def _factor(events: ir.Table, level: InteractionLevel) -> ir.FloatingValue:
    """By how much the amount of an event multiplies its weight; 1 where there is none."""
    if level.scale in ("constant", "own_middle"):
        return ibis.literal(1.0)
    units = events[level.by].cast("float64") / level.unit
    units = ibis.ifelse(units > 0, units, 0.0)
    factor = {
        "linear": lambda: units,
        "square_root": lambda: units.sqrt(),
        "log": lambda: (units + 1).log2(),
        "threshold": lambda: ibis.ifelse(units >= 1, 1.0, 0.0),
    }[level.scale]()
    return ibis.ifelse(events[level.by].isnull(), 1.0, ibis.ifelse(factor > LARGEST_FACTOR, LARGEST_FACTOR, factor))


def positive_events(events: ir.Table, rules: InteractionRules) -> ir.Table:
    """The events that say something good of an item, with the columns of ``events``."""
    found = strengths(events, rules)
    good = found.strength > 0
    return found.filter(good & found.liked if rules.own_middle else good).select(events.columns)


def interactions(events: ir.Table, rules: InteractionRules, end: dt.datetime) -> ir.Table:
    """One row a pair of a user and an item: ``user_id``, ``item_id``, ``weight``, ``liked``, ``importance``, ``last_time``, ``events``, ``rating``,
    and ``best``, the largest strength of its events.

    The weight of a pair is the sum over its events before ``end`` of strength * importance * 2 ** (-age / half-life), the age in days before
    ``end``. Time makes an event count for less, down to a millionth, and never for nothing: a pair with an event that says something
    good weighs ``SMALLEST_WEIGHT`` at least, whatever its age. A pair with none, or one that the person rated below the own middle,
    weighs 0: it was met, and says nothing good. ``rating`` is the mean value of the pair's ratings, null without any.

    Args:
        events: cleaned events.
    """
    known = strengths(events.filter(events.timestamp < end), rules)
    end_seconds = end.replace(tzinfo=dt.UTC).timestamp()
    halvings = (ibis.literal(end_seconds) - known.timestamp.epoch_seconds()) / (86_400.0 * rules.half_life_days)
    halvings = ibis.ifelse(halvings > MOST_HALVINGS, MOST_HALVINGS, halvings)
    decayed = known.mutate(
        decayed=(known.strength * known.importance).clip(-LARGEST_STRENGTH, LARGEST_STRENGTH) * (ibis.literal(0.5) ** halvings)
    )
    sums = decayed.group_by("user_id", "item_id").aggregate(
        best=decayed.strength.max(),
        sum=exact_sum(decayed.decayed, units=WEIGHT_UNITS),
        liked=decayed.liked.all(),
        importance=exact_mean(decayed.importance, decayed.strength > 0),
        last_time=decayed.timestamp.max(),
        events=decayed.count(),
        rating=exact_mean(decayed.value, decayed.event_type == "rating"),
    )
    good = sums.best > 0
    if rules.own_middle:
        good = good & sums.liked
    weight = ibis.ifelse(good, ibis.greatest(sums["sum"], SMALLEST_WEIGHT), 0.0)
    found = sums.mutate(weight=weight, importance=sums.importance.fill_null(1.0))
    return found.select("user_id", "item_id", "weight", "liked", "importance", "last_time", "events", "rating", "best")


def as_of_interactions(events: ir.Table, rules: InteractionRules, as_of: dt.date) -> ir.Table:
    """``contracts.INTERACTIONS`` as of the end of a day."""
    found = interactions(known_until(events, as_of), rules, end_of(as_of))
    return found.drop("best").mutate(as_of_date=ibis.literal(as_of))
