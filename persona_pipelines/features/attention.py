"""Where attention goes: shares over categories, their entropy, rhythm, devices and channels.

Definitions are the project's own unless a source is named; units and bounds stand in ``contracts.USER_FEATURES``.
"""

from __future__ import annotations

import datetime as dt
import math

import ibis
import ibis.expr.types as ir

from persona_pipelines.features.exact import exact_sum
from persona_pipelines.vocabulary import MESSAGE_TYPES, RESPONSE_TYPES, VIEWING_TYPES

EPOCH = dt.date(1970, 1, 1)
HALF_LIFE_DAYS = 3
FATIGUE_MESSAGES = 4
MINIMUM_ATTENTION_MS = 1000
"""An event counts for at least a second of attention, also where no dwell is known."""
RANKED = 5
"""Items of a category with a price, from which on the rank of one says how dear it is."""


def is_act(events: ir.Table) -> ir.BooleanValue:
    """Whether an event is an act of the person: what others caused, such as a message sent, says nothing of choices nor of when they are active."""
    return ~events.event_type.isin(MESSAGE_TYPES)


def attention(events: ir.Table) -> ir.IntegerValue:
    """Attention of an event in ms, with the floor for events without a known dwell."""
    known = events.attention_ms.fill_null(0)
    return ibis.ifelse(known < MINIMUM_ATTENTION_MS, MINIMUM_ATTENTION_MS, known)


def entropy(shares: ir.Table, key: str, share: str) -> ir.Table:
    """Shannon entropy in bits (Shannon 1948) of the shares of each key: columns ``key`` and ``entropy``."""
    surprise = shares[share] * -shares[share].log2()
    return shares.group_by(key).aggregate(entropy=exact_sum(ibis.ifelse(shares[share] > 0, surprise, 0.0)))


def category_shares(events: ir.Table, items: ir.Table, interest: str = "attention") -> ir.Table:
    """How each user's interest is spread over categories: ``user_id``, ``category``, ``interest_share``, ``rank``, ``interest_half_life_days``.

    The half-life is that of an exponential decay fitted to the attention since the first day of interest, by its mean: ln 2 times the
    mean days since that day, weighted by attention; null with fewer than three days of interest, as one cannot be told then.

    Args:
        events: cleaned events up to the as-of date with a known user.
        items: ``item_id`` and ``category``.
        interest: what it is made of (``described.Log``): attention, with a floor for events without a known dwell; of a log that tells of
            none, every event counts the same.
    """
    known = items.filter(items.category.notnull()).select("item_id", "category")
    seen = events.filter(events.item_id.notnull() & is_act(events))
    paid = attention(seen) if interest == "attention" else ibis.literal(MINIMUM_ATTENTION_MS)
    named = seen.mutate(date=seen.timestamp.date(), paid=paid).inner_join(known, "item_id")
    daily = named.group_by("user_id", "category", "date").aggregate(attention_ms=named.paid.sum())
    # Days since any fixed date, the first one taken off the sum: the same as days since the first, without sorting.
    days = daily.date.delta(EPOCH, unit="day")
    sums = daily.group_by("user_id", "category").aggregate(
        attention_ms=daily.attention_ms.sum(), day_sum=(days * daily.attention_ms).sum(), first=days.min(), active_days=daily.count()
    )
    half_life = ((sums.day_sum - sums["first"] * sums.attention_ms) / sums.attention_ms) * math.log(2)
    # One order for both, so that the engine sorts once.
    ordered = ibis.window(group_by="user_id", order_by=[sums.attention_ms.desc(), sums.category], rows=(None, None))
    return sums.mutate(
        interest_share=sums.attention_ms / sums.attention_ms.sum().over(ordered),
        interest_half_life_days=ibis.ifelse(sums.active_days >= HALF_LIFE_DAYS, half_life.round(6), None),
        rank=ibis.row_number().over(ordered) + 1,
    )


def concentration(shares: ir.Table) -> ir.Table:
    """``user_id`` and ``interest_concentration``: the Herfindahl-Hirschman index of attention shares, 1 where all goes to one category."""
    squares = shares.interest_share * shares.interest_share
    return shares.group_by("user_id").aggregate(interest_concentration=exact_sum(squares))


def sessions(events: ir.Table) -> ir.Table:
    """``user_id``, ``sessions`` in which something was before the user's eyes (``VIEWING_TYPES``), ``bounce_share``, those with a single
    event among them, and the sums over them: ``session_events``, ``session_items`` (different ones of all), ``session_attention_ms``."""
    own = events.filter(is_act(events))
    visits = own.filter(own.event_type.isin(VIEWING_TYPES)).select("user_id", "session_id").distinct()
    inside = own.semi_join(visits, ["user_id", "session_id"])
    lengths = inside.group_by("user_id", "session_id").aggregate(events=inside.count())
    counts = lengths.group_by("user_id").aggregate(
        sessions=lengths.count(),
        bounce_share=lengths.count(where=lengths.events == 1) / lengths.count(),
        session_events=lengths.events.sum(),
    )
    sums = inside.group_by("user_id").aggregate(session_items=inside.item_id.nunique(), session_attention_ms=inside.attention_ms.sum())
    return counts.inner_join(sums, "user_id")


def fatigue(events: ir.Table) -> ir.Table:
    """``user_id`` and ``message_fatigue``: the click rate over the first half of the messages less that over the second half.

    Above 0 where the response tires as messages grow in number. A click belongs to the half in which the last message before it
    was; null with fewer than four messages.
    """
    told = events.filter(events.event_type.isin((*MESSAGE_TYPES, *RESPONSE_TYPES)))
    shown = told.event_type.isin(MESSAGE_TYPES).cast("int64")
    order = [told.timestamp, shown.desc()]
    numbered = told.mutate(
        number=shown.sum().over(ibis.cumulative_window(group_by="user_id", order_by=order)),
        messages=shown.sum().over(group_by="user_id"),
        shown=shown,
    )
    early = numbered.number * 2 <= numbered.messages
    sums = numbered.group_by("user_id").aggregate(
        messages=numbered.messages.max(),
        early_shown=numbered.count(where=early & (numbered.shown == 1)),
        late_shown=numbered.count(where=~early & (numbered.shown == 1)),
        early_clicks=numbered.count(where=early & (numbered.shown == 0)),
        late_clicks=numbered.count(where=~early & (numbered.shown == 0)),
    )
    difference = sums.early_clicks / sums.early_shown.nullif(0) - sums.late_clicks / sums.late_shown.nullif(0)
    return sums.select("user_id", message_fatigue=ibis.ifelse(sums.messages >= FATIGUE_MESSAGES, difference, None))


def rhythm(moments: ir.Table, column: str, period: int) -> ir.Table:
    """Circular statistics (Mardia and Jupp 2000) of whole hours or weekdays: ``user_id``, ``peak``, ``strength``.

    Each moment is a point on a circle of ``period``; the direction of their mean is the peak, its length the strength: 1 where
    all are at the same hour, near 0 where they are spread evenly.

    Args:
        moments: ``user_id``, ``column``, and ``moments``, how many there are of each.
    """
    counts = moments.group_by("user_id", column).aggregate(moments=moments.moments.sum())
    angle = (counts[column] + 0.5) * (2 * math.pi / period)
    sums = counts.group_by("user_id").aggregate(
        x=exact_sum(angle.cos() * counts.moments), y=exact_sum(angle.sin() * counts.moments), moments=counts.moments.sum()
    )
    turn = ibis.ifelse((sums.x == 0) & (sums.y == 0), 0.0, sums.y.atan2(sums.x)) * (period / (2 * math.pi))
    strength = ((sums.x * sums.x + sums.y * sums.y).sqrt() / sums.moments).clip(upper=1.0)
    return sums.select("user_id", peak=ibis.ifelse(turn < 0, turn + period, turn).round(6), strength=strength.round(6))


def channel_mix(events: ir.Table) -> ir.Table:
    """``user_id``, ``top_channel`` and ``channel_entropy`` in bits, for users with a known channel."""
    known = events.filter(events.channel.notnull())
    counts = known.group_by("user_id", "channel").aggregate(events=known.count())
    shares = counts.mutate(share=counts.events / counts.events.sum().over(group_by="user_id"))
    ranked = shares.mutate(rank=ibis.row_number().over(group_by="user_id", order_by=[ibis.desc(shares.share), shares.channel]))
    top = ranked.filter(ranked["rank"] == 0).select("user_id", top_channel="channel")
    spread = entropy(shares, "user_id", "share")
    return top.inner_join(spread, "user_id").select("user_id", "top_channel", channel_entropy="entropy")


def price_ranks(items: ir.Table) -> ir.Table:
    """``item_id``, ``list_price`` and ``price_rank``: the rank of an item's price within its category, 0 cheapest to 1 dearest; null in one with
    fewer than ``RANKED`` prices, where it says which item it is and not how dear."""
    priced = items.filter(items.price.notnull()).mutate(category=items.category.fill_null(""))
    rank = ibis.percent_rank().over(group_by="category", order_by=priced.price)
    enough = priced.price.count().over(group_by="category") >= RANKED
    return priced.select("item_id", price_rank=ibis.ifelse(enough, rank, None), list_price=priced.price)
