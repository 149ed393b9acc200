"""Where attention goes: shares over categories, their entropy, rhythm, devices and channels.

Definitions are the project's own unless a source is named; units and bounds stand in ``contracts.USER_FEATURES``.
"""

from __future__ import annotations

import datetime as dt
import math

import ibis
import ibis.expr.types as ir

from persona_pipelines.features.exact import exact_sum

MINIMUM_ATTENTION_MS = 1000
"""An event counts for at least a second of attention, also where no dwell is known."""


@ibis.udf.scalar.builtin(name="to_local_time")
def _to_local_time(zone: str, moment: dt.datetime) -> dt.datetime:
    """A macro of the connection: UTC to local time in a zone."""
    ...


def local_time(moment: ir.TimestampValue, timezone: str) -> ir.TimestampValue:
    return moment if timezone == "UTC" else _to_local_time(timezone, moment)


def attention(events: ir.Table) -> ir.IntegerValue:
    """Attention of an event in ms, with the floor for events without a known dwell."""
    known = events.attention_ms.fill_null(0)
    return ibis.ifelse(known < MINIMUM_ATTENTION_MS, MINIMUM_ATTENTION_MS, known)


def entropy(shares: ir.Table, key: str, share: str) -> ir.Table:
    """Shannon entropy in bits (Shannon 1948) of the shares of each key: columns ``key`` and ``entropy``."""
    surprise = shares[share] * -shares[share].log2()
    return shares.group_by(key).aggregate(entropy=exact_sum(ibis.ifelse(shares[share] > 0, surprise, 0.0)))


def category_shares(events: ir.Table, items: ir.Table) -> ir.Table:
    """How each user's attention is spread over categories: ``user_id``, ``category``, ``attention_share``, ``rank``.

    Args:
        events: cleaned events up to the as-of date with a known user.
        items: ``item_id`` and ``category``.
    """
    known = items.filter(items.category.notnull()).select("item_id", "category")
    seen = events.filter(events.item_id.notnull())
    pairs = seen.group_by("user_id", "item_id").aggregate(attention_ms=attention(seen).sum())
    named = pairs.inner_join(known, "item_id")
    sums = named.group_by("user_id", "category").aggregate(attention_ms=named.attention_ms.sum())
    total = sums.attention_ms.sum().over(group_by="user_id")
    shares = sums.mutate(attention_share=sums.attention_ms / total)
    order = [ibis.desc(shares.attention_share), shares.category]
    return shares.mutate(rank=ibis.row_number().over(group_by="user_id", order_by=order) + 1)


def concentration(shares: ir.Table) -> ir.Table:
    """``user_id`` and ``interest_concentration``: the Herfindahl-Hirschman index of attention shares, 1 where all goes to one category."""
    squares = shares.attention_share * shares.attention_share
    return shares.group_by("user_id").aggregate(interest_concentration=exact_sum(squares))


def bounces(events: ir.Table) -> ir.Table:
    """``user_id`` and ``bounce_share``: sessions with a single event among all sessions."""
    sessions = events.group_by("user_id", "session_id").aggregate(events=events.count())
    return sessions.group_by("user_id").aggregate(bounce_share=sessions.count(where=sessions.events == 1) / sessions.count())


def rhythm(moments: ir.Table, column: str, period: int) -> ir.Table:
    """Circular statistics (Mardia and Jupp 2000) of whole hours: ``user_id``, ``peak_hour``, ``rhythm_strength``.

    Each moment is a point on a circle of ``period``; the direction of their mean is the peak, its length the strength: 1 where
    all are at the same hour, near 0 where they are spread evenly.
    """
    angle = (moments[column] + 0.5) * (2 * math.pi / period)
    sums = moments.group_by("user_id").aggregate(x=exact_sum(angle.cos()), y=exact_sum(angle.sin()), moments=moments.count())
    turn = ibis.ifelse((sums.x == 0) & (sums.y == 0), 0.0, sums.y.atan2(sums.x)) * (period / (2 * math.pi))
    strength = ((sums.x * sums.x + sums.y * sums.y).sqrt() / sums.moments).clip(upper=1.0)
    return sums.select("user_id", peak_hour=ibis.ifelse(turn < 0, turn + period, turn).round(6), rhythm_strength=strength.round(6))


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
    """``item_id`` and ``price_rank``: the rank of an item's price within its category, 0 cheapest to 1 dearest."""
    priced = items.filter(items.price.notnull()).mutate(category=items.category.fill_null(""))
    rank = ibis.percent_rank().over(group_by="category", order_by=priced.price)
    return priced.select("item_id", price_rank=rank)
