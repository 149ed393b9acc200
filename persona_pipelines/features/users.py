"""One row a user: recency, frequency, monetary value, attention, rhythm, response and trend as of a date."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from persona_pipelines.days import end_of
from persona_pipelines.features import attention
from persona_pipelines.features.exact import exact_mean, exact_sum
from persona_pipelines.features.following import followers
from persona_pipelines.features.support import EVERYTHING, Support, without_support
from persona_pipelines.vocabulary import MESSAGE_TYPES, REPAYMENT_TYPES, RESPONSE_TYPES, SOCIAL_TYPES, SPENDING_TYPES
from persona_pipelines.warehouse.functions import local_time

RECENT_DAYS, PRIOR_DAYS = 7, 28
HABIT_DAYS = 2
HABITS = (
    "night_share",
    "morning_share",
    "afternoon_share",
    "evening_share",
    "weekend_share",
    "peak_hour",
    "rhythm_strength",
    "peak_weekday",
    "week_rhythm_strength",
)
"""When people act: unknown of those who were active on fewer days than ``HABIT_DAYS``."""
DISCOUNT = 0.95
"""What is paid for a piece below this share of the list price is a discount."""


def known_until(events: ir.Table, as_of: dt.date) -> ir.Table:
    """Events of known users up to the end of the as-of date, which each carries: nothing later may reach a feature."""
    return events.filter(events.user_id.notnull() & (events.timestamp < end_of(as_of))).mutate(as_of_date=ibis.literal(as_of))


def user_features(
    known: ir.Table, items: ir.Table, category_shares: ir.Table, timezone: str = "UTC", support: Support = EVERYTHING
) -> ir.Table:
    """``contracts.USER_FEATURES`` as of the end of a day in UTC.

    The day is that of the events, so that the query is the same for every day.

    Args:
        known: ``known_until`` of cleaned events.
        items: the catalogue, for prices.
        category_shares: ``attention.category_shares`` of the same events and as-of date.
        timezone: of hours and weekdays.
        support: what the log holds; the other features are null.
    """
    with_ranks = known.left_join(attention.price_ranks(items), "item_id").drop("item_id_right")
    local = local_time(with_ranks.timestamp, timezone)
    # What others did to a user, a message sent, says nothing of when the user is active.
    act = attention.is_act(with_ranks)
    dated, timed = support.dated(with_ranks), support.timed(with_ranks)
    facts = with_ranks.mutate(
        date=ibis.ifelse(dated, with_ranks.timestamp.date(), None),
        act_date=ibis.ifelse(act & dated, with_ranks.timestamp.date(), None),
        hour=ibis.ifelse(act & timed, local.hour(), None),
        weekday=ibis.ifelse(act & dated, local.day_of_week.index(), None),
        paid_price=with_ranks.value / with_ranks.quantity.fill_null(1).nullif(0),
        spending=with_ranks.event_type.isin(SPENDING_TYPES),
        repaying=with_ranks.event_type.isin(REPAYMENT_TYPES),
        item_attention_ms=ibis.ifelse(with_ranks.item_id.notnull(), with_ranks.attention_ms, None),
    )
    recent = facts.act_date >= _first_of_last(RECENT_DAYS, facts)
    prior = ~recent & (facts.act_date >= _first_of_last(RECENT_DAYS + PRIOR_DAYS, facts))

    def share(condition: ir.BooleanValue, of: ir.BooleanValue) -> ir.FloatingValue:
        return facts.count(where=condition & of) / facts.count(where=of).nullif(0)

    spent, repaid = exact_sum(facts.value, facts.spending).fill_null(0), exact_sum(facts.value, facts.repaying).fill_null(0)
    acts = attention.is_act(facts)
    with_hour, with_weekday, named_device = facts.hour.notnull(), facts.weekday.notnull(), facts.device.notnull() & acts
    sums = facts.group_by("user_id").aggregate(
        as_of_date=facts.as_of_date.max(),
        first_date=facts.act_date.min(),
        last_date=facts.act_date.max(),
        events=facts.count(),
        acts=facts.count(where=acts),
        dated_events=facts.count(where=facts.date.notnull()),
        timed_events=facts.count(where=support.timed(facts)),
        purchases=facts.count(where=facts.spending),
        spent_last_90_days=exact_sum(facts.value, facts.spending & (facts.date >= _first_of_last(90, facts))).fill_null(0),
        spent=spent,
        monetary_value=spent - repaid,
        attention_ms=facts.attention_ms.sum(),
        item_attention_ms=facts.item_attention_ms.sum(),
        items=facts.item_id.nunique(where=acts),
        night_share=share(facts.hour < 6, with_hour),
        morning_share=share(facts.hour.between(6, 11), with_hour),
        afternoon_share=share(facts.hour.between(12, 17), with_hour),
        evening_share=share(facts.hour >= 18, with_hour),
        weekend_share=share(facts.weekday >= 5, with_weekday),
        mobile_share=share(facts.device == "mobile", named_device),
        tablet_share=share(facts.device == "tablet", named_device),
        price_level=exact_mean(facts.price_rank, acts),
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
        "user_id", top_category="category", top_category_share="interest_share"
    )
    spread = attention.entropy(category_shares, "user_id", "interest_share").rename(category_entropy="entropy")
    moments = facts.filter(facts.weekday.notnull()).group_by("user_id", "hour", "weekday").aggregate(moments=lambda rows: rows.count())
    day_rhythm = attention.rhythm(moments.filter(moments.hour.notnull()), "hour", 24).rename(peak_hour="peak", rhythm_strength="strength")
    week_rhythm = attention.rhythm(moments, "weekday", 7).rename(peak_weekday="peak", week_rhythm_strength="strength")
    others = (
        top,
        spread,
        attention.concentration(category_shares),
        attention.channel_mix(known),
        attention.sessions(known.filter(support.timed(known)) if support.untimed else known),
        day_rhythm,
        week_rhythm,
        attention.fatigue(known),
        _by_day(known.filter(support.dated(known)) if support.undated else known),
        *followers(known),
    )
    # One chain of joins: a projection after each would be a query in a query for each, and Ibis takes seconds to write them.
    joined = sums
    for number, other in enumerate(others):
        joined = joined.left_join(other, "user_id", rname="{name}_" + str(number))
    joined = joined.drop(*(f"user_id_{number}" for number in range(len(others))))
    weekly = joined.events_prior_28_days / (PRIOR_DAYS / RECENT_DAYS)
    tenure_days = _days(joined.as_of_date, joined.first_date)

    def counted(of: ir.IntegerColumn, *names: str) -> dict[str, ir.Value]:
        """Counts that are 0 where nothing was found, for users of whom something could have been: those with such events."""
        return {name: ibis.ifelse(of > 0, joined[name].fill_null(0), None) for name in names}

    found = joined.mutate(
        # Once is no habit.
        **{name: ibis.ifelse(joined.active_days >= HABIT_DAYS, joined[name], None) for name in HABITS},
        **counted(
            joined.dated_events,
            "active_days",
            "frequency",
            "purchase_days_last_30",
            "purchase_days_last_90",
            "events_last_7_days",
            "events_prior_28_days",
        ),
        # Who did something and was not seen to look at anything may have come all the same.
        sessions=ibis.ifelse((joined.acts == 0) & (joined.timed_events > 0), 0, joined.sessions),
        followers=joined.followers.fill_null(0),
        following=joined.following.fill_null(0),
        recency_days=_days(joined.as_of_date, joined.last_date),
        tenure_days=tenure_days,
        purchase_recency_days=_days(joined.as_of_date, joined.last_spent),
        purchase_gap_days=joined.last_spent.delta(joined.first_spent, unit="day") / (joined.frequency - 1).nullif(0),
        active_gap_days=joined.last_date.delta(joined.first_date, unit="day") / (joined.active_days - 1).nullif(0),
        attention_minutes_per_week=joined.attention_ms / 60_000 / ((tenure_days + 1) / 7.0).clip(lower=1.0),
        focus_share=joined.item_attention_ms.fill_null(0) / joined.attention_ms.nullif(0),
        items_per_session=joined.session_items / joined.sessions.nullif(0),
        average_order_value=joined.spent / joined.frequency.nullif(0),
        repeat_order_value=(joined.spent - joined.first_day_spent) / (joined.frequency - 1).nullif(0),
        events_per_session=joined.session_events / joined.sessions.nullif(0),
        attention_ms_per_session=joined.session_attention_ms / joined.sessions.nullif(0),
        attention_ms_per_item=joined.item_attention_ms / joined["items"].nullif(0),
        click_rate=ibis.ifelse(joined.clicks > joined.impressions, 1.0, joined.clicks / joined.impressions.nullif(0)).cast("float64"),
        # Of a person who came later than the time before begins, every week would be a rising one.
        trend=ibis.ifelse(
            tenure_days >= RECENT_DAYS + PRIOR_DAYS - 1, ((joined.events_last_7_days + 1) / (weekly + 1)).log2().round(9), None
        ),
    ).mutate(click_rate=lambda table: ibis.ifelse(table.impressions == 0, None, table.click_rate))
    return without_support(found, support.absent)


def _by_day(events: ir.Table) -> ir.Table:
    """``user_id`` and what is counted in days: those with own events, those with purchases, the first and last of these, spent on the first."""
    acts = events.filter(attention.is_act(events))
    spending = acts.event_type.isin(SPENDING_TYPES)
    daily = acts.group_by("user_id", "as_of_date", date=acts.timestamp.date()).aggregate(
        bought=spending.any(), spent=exact_sum(acts.value, spending).fill_null(0)
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
