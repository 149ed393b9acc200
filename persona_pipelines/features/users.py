"""One row a user: recency, frequency, monetary value, attention, rhythm, response and trend as of a date."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from persona_pipelines.days import end_of
from persona_pipelines.features import attention
from persona_pipelines.features.exact import exact_mean, exact_sum
from persona_pipelines.features.following import followers
from persona_pipelines.vocabulary import MESSAGE_TYPES, REPAYMENT_TYPES, RESPONSE_TYPES, SPENDING_TYPES
from persona_pipelines.warehouse.functions import local_time

SOCIAL_TYPES = ("like", "share", "comment", "follow")
RECENT_DAYS, PRIOR_DAYS = 7, 28
DISCOUNT = 0.95
"""What is paid for a piece below this share of the list price is a discount."""


def known_until(events: ir.Table, as_of: dt.date) -> ir.Table:
    """Events of known users up to the end of the as-of date, which each carries: nothing later may reach a feature."""
    return events.filter(events.user_id.notnull() & (events.timestamp < end_of(as_of))).mutate(as_of_date=ibis.literal(as_of))


def user_features(known: ir.Table, items: ir.Table, category_shares: ir.Table, timezone: str = "UTC") -> ir.Table:
    """``contracts.USER_FEATURES`` as of the end of a day in UTC.

    The day is that of the events, so that the query is the same for every day.

    Args:
        known: ``known_until`` of cleaned events.
        items: the catalogue, for prices.
        category_shares: ``attention.category_shares`` of the same events and as-of date.
        timezone: of hours and weekdays.
    """
    with_ranks = known.left_join(attention.price_ranks(items), "item_id").drop("item_id_right")
    local = local_time(with_ranks.timestamp, timezone)
    facts = with_ranks.mutate(
        date=with_ranks.timestamp.date(),
        hour=local.hour(),
        weekday=local.day_of_week.index(),
        paid_price=with_ranks.value / with_ranks.quantity.fill_null(1).nullif(0),
        spending=with_ranks.event_type.isin(SPENDING_TYPES),
        repaying=with_ranks.event_type.isin(REPAYMENT_TYPES),
        item_attention_ms=ibis.ifelse(with_ranks.item_id.notnull(), with_ranks.attention_ms, None),
    )
    recent = facts.date >= _first_of_last(RECENT_DAYS, facts)
    prior = ~recent & (facts.date >= _first_of_last(RECENT_DAYS + PRIOR_DAYS, facts))

    def share(condition: ir.BooleanValue, of: ir.BooleanValue | None = None) -> ir.FloatingValue:
        total = facts.count() if of is None else facts.count(where=of).nullif(0)
        return facts.count(where=condition if of is None else condition & of) / total

    spent, repaid = exact_sum(facts.value, facts.spending).fill_null(0), exact_sum(facts.value, facts.repaying).fill_null(0)
    named_device = facts.device.notnull()
    sums = facts.group_by("user_id").aggregate(
        as_of_date=facts.as_of_date.max(),
        first_date=facts.date.min(),
        last_date=facts.date.max(),
        events=facts.count(),
        spent_last_90_days=exact_sum(facts.value, facts.spending & (facts.date >= _first_of_last(90, facts))).fill_null(0),
        spent=spent,
        monetary_value=spent - repaid,
        attention_ms=facts.attention_ms.sum(),
        item_attention_ms=facts.item_attention_ms.sum(),
        items=facts.item_id.nunique(),
        night_share=share(facts.hour < 6),
        morning_share=share(facts.hour.between(6, 11)),
        afternoon_share=share(facts.hour.between(12, 17)),
        evening_share=share(facts.hour >= 18),
        weekend_share=share(facts.weekday >= 5),
        mobile_share=share(facts.device == "mobile", named_device),
        tablet_share=share(facts.device == "tablet", named_device),
        price_level=exact_mean(facts.price_rank),
        discount_share=facts.count(where=facts.spending & (facts.paid_price < DISCOUNT * facts.list_price))
        / facts.count(where=facts.spending & facts.paid_price.notnull() & facts.list_price.notnull()).nullif(0),
        scroll_depth=exact_mean(facts.scroll_pct),
        impressions=facts.count(where=facts.event_type.isin(MESSAGE_TYPES)),
        clicks=facts.count(where=facts.event_type.isin(RESPONSE_TYPES)),
        searches=facts.count(where=facts.event_type == "search"),
        social_actions=facts.count(where=facts.event_type.isin(SOCIAL_TYPES)),
        ratings=facts.count(where=facts.event_type == "rating"),
        average_rating=exact_mean(facts.value, facts.event_type == "rating"),
        events_last_7_days=facts.count(where=recent),
        events_prior_28_days=facts.count(where=prior),
    )
    top = category_shares.filter(category_shares["rank"] == 1).select(
        "user_id", top_category="category", top_category_share="attention_share"
    )
    spread = attention.entropy(category_shares, "user_id", "attention_share").rename(category_entropy="entropy")
    clock = local_time(known.timestamp, timezone)
    moments = known.group_by("user_id", hour=clock.hour(), weekday=clock.day_of_week.index()).aggregate(moments=known.count())
    day_rhythm = attention.rhythm(moments, "hour", 24).rename(peak_hour="peak", rhythm_strength="strength")
    week_rhythm = attention.rhythm(moments, "weekday", 7).rename(peak_weekday="peak", week_rhythm_strength="strength")
    others = (
        top,
        spread,
        attention.concentration(category_shares),
        attention.channel_mix(known),
        attention.sessions(known),
        day_rhythm,
        week_rhythm,
        attention.fatigue(known),
        _by_day(known),
        *followers(known),
    )
    # One chain of joins: a projection after each would be a query in a query for each, and Ibis takes seconds to write them.
    joined = sums
    for number, other in enumerate(others):
        joined = joined.left_join(other, "user_id", rname="{name}_" + str(number))
    joined = joined.drop(*(f"user_id_{number}" for number in range(len(others))))
    weekly = joined.events_prior_28_days / (PRIOR_DAYS / RECENT_DAYS)
    return joined.mutate(
        followers=joined.followers.fill_null(0),
        following=joined.following.fill_null(0),
        recency_days=_days(joined.as_of_date, joined.last_date),
        tenure_days=_days(joined.as_of_date, joined.first_date),
        purchase_recency_days=_days(joined.as_of_date, joined.last_spent),
        purchase_gap_days=joined.last_spent.delta(joined.first_spent, unit="day") / (joined.frequency - 1).nullif(0),
        visit_gap_days=joined.last_date.delta(joined.first_date, unit="day") / (joined.active_days - 1).nullif(0),
        attention_minutes_per_week=joined.attention_ms / 60_000 / ((_days(joined.as_of_date, joined.first_date) + 1) / 7.0).clip(lower=1.0),
        focus_share=joined.item_attention_ms.fill_null(0) / joined.attention_ms.nullif(0),
        items_per_session=joined["items"] / joined.sessions,
        average_order_value=joined.spent / joined.frequency.nullif(0),
        repeat_order_value=(joined.spent - joined.first_day_spent) / (joined.frequency - 1).nullif(0),
        events_per_session=joined.events / joined.sessions,
        attention_ms_per_session=joined.attention_ms / joined.sessions,
        attention_ms_per_item=joined.item_attention_ms / joined["items"].nullif(0),
        click_rate=ibis.ifelse(joined.clicks > joined.impressions, 1.0, joined.clicks / joined.impressions.nullif(0)).cast("float64"),
        trend=((joined.events_last_7_days + 1) / (weekly + 1)).log2().round(9),
    ).mutate(click_rate=lambda table: ibis.ifelse(table.impressions == 0, None, table.click_rate))


def _by_day(events: ir.Table) -> ir.Table:
    """``user_id`` and what is counted in days: those with events, those with purchases, the first and last of these, spent on the first."""
    spending = events.event_type.isin(SPENDING_TYPES)
    daily = events.group_by("user_id", "as_of_date", date=events.timestamp.date()).aggregate(
        bought=spending.any(), spent=exact_sum(events.value, spending).fill_null(0)
    )
    bought = daily.bought

    def since(days: int) -> ir.IntegerValue:
        return daily.count(where=bought & (daily.date >= _first_of_last(days, daily)))

    return daily.group_by("user_id").aggregate(
        active_days=daily.count(),
        frequency=daily.count(where=bought),
        first_spent=daily.date.min(where=bought),
        last_spent=daily.date.max(where=bought),
        purchase_days_last_30=since(30),
        purchase_days_last_90=since(90),
        first_day_spent=daily.spent.argmin(daily.date, where=bought),
    )


def _first_of_last(days: int, table: ir.Table) -> ir.DateValue:
    """The first of so many days that end with the as-of date."""
    return table.as_of_date - ibis.interval(days=days - 1)


def _days(as_of: ir.DateValue, date: ir.DateValue) -> ir.IntegerValue:
    return as_of.delta(date, unit="day").cast("int64")
