"""Programs that call themselves a browser: told by what no person does with one device on one day."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from persona_pipelines.settings.stages import AutomationSettings
from persona_pipelines.warehouse.connection import Warehouse

OPENING_TYPES = ("page_view", "item_view", "search", "login")
"""Types of events that open an address; what a page sends by itself while it is open says nothing of who opened it."""
LOGIN_PAGES = r"(?i)/(wp-login|login|log-in|signin|sign-in|xmlrpc)(\.[a-z]+)?/?$"
KEY = ("source", "day", "date", "agent_id")
FEWEST_PAGES, FEWEST_DEVICES, LOADING_SHARE = 3, 20, 0.5
"""A source logs assets on a day if this share of the devices with so many pages loaded one, of so many devices at least."""
HOUR = 3600
PAGES_AN_ASSET = 10
"""A device with an asset for so many pages loads them: an office behind one address may be as quick and as tireless as a robot."""


def automated(warehouse: Warehouse, records: ir.Table, rules: AutomationSettings, static_extensions: Sequence[str]) -> ir.Table:
    """The devices of each day that break a rule: ``source``, ``day``, ``date``, ``agent_id``, ``automated`` (the reason).

    A rule looks at one device on one date of one source, so that the result of a day depends on that day's records alone. Moments are
    counted, not records: neither copies nor several records of one request change a count. The signs are those of the literature
    on robots that hide (Doran and Gokhale 2011: the log's syntax, the traffic's rate, what is asked for); the thresholds are this project's own.

    Args:
        records: ``source``, ``day``, ``timestamp``, ``event_type``, ``anonymous_id``, ``logged_user_id``, ``url``, ``reason`` (why
            each is filtered already, or null).
    """
    told = with_key(records)
    opened = told.reason.isnull() & told.event_type.isin(OPENING_TYPES)
    told = told.mutate(
        moment=told.timestamp.epoch_seconds(),
        opened=opened,
        asset=is_static(told.url, static_extensions).fill_null(False),
        robots=told.url.lower().endswith("/robots.txt").fill_null(False),
        login=opened & ((told.event_type == "login") | told.url.re_search(LOGIN_PAGES).fill_null(False)),
    )
    days = (
        told.filter(told.agent_id.notnull())
        .group_by(*KEY)
        .aggregate(pages=told.opened.sum(), assets=told.asset.sum(), robots=told.robots.any())
    )
    days = warehouse.keep("device_days", days)
    # Most devices do little: only those that could break a rule are looked at by the hour.
    fewest = min(
        [limit for limit in (rules.pages_per_hour, rules.logins_per_hour, rules.hours_per_day, rules.pages_without_assets) if limit],
        default=None,
    )
    busy = days.filter(days.robots if fewest is None else days.robots | (days.pages > fewest))
    moments = told.semi_join(busy.filter(busy.pages > 0), KEY).filter(lambda table: table.opened)
    moments = moments.group_by(*KEY, "moment").aggregate(login=moments.login.any())
    logins = _quickest(moments.filter(moments.login), rules.logins_per_hour).rename(login_seconds="seconds")
    pages = _quickest(moments, rules.pages_per_hour).rename(page_seconds="seconds")
    daily = moments.group_by(*KEY).aggregate(opened=moments.count(), hours=(moments.moment // HOUR).nunique())
    hourly = daily.left_join(pages, KEY, rname="{name}_page").left_join(logins, KEY, rname="{name}_login")
    found = (
        busy.select(*KEY, "assets", "robots")
        .left_join(hourly.select(*KEY, "opened", "hours", "page_seconds", "login_seconds"), KEY, rname="{name}_hourly")
        .join(_loading(days), ["source", "day", "date"])
    )
    browsing = found.loading & (found.assets * PAGES_AN_ASSET >= found.opened)
    broken = [
        (found.robots, "robots.txt", rules.robots_txt),
        (found.login_seconds < HOUR, "log-ins per hour", rules.logins_per_hour),
        (~browsing & (found.page_seconds < HOUR), "pages per hour", rules.pages_per_hour),
        (~browsing & (found.hours > ibis.literal(rules.hours_per_day)), "hours of the day", rules.hours_per_day),
        (
            found.loading & (found.assets == 0) & (found.opened > ibis.literal(rules.pages_without_assets)),
            "no assets",
            rules.pages_without_assets,
        ),
    ]
    reasons = [(condition, f"automated: {name}") for condition, name, limit in broken if limit]
    told_off = found.mutate(automated=ibis.cases(*reasons, else_=ibis.null("string")) if reasons else ibis.null("string"))
    return warehouse.keep("automated", told_off.filter(told_off.automated.notnull()).select(*KEY, "automated"))


def _quickest(moments: ir.Table, limit: int) -> ir.Table:
    """``KEY`` and ``seconds``: the shortest time in which ``limit`` moments and one more lie; those with fewer have none."""
    order = ibis.window(group_by=KEY, order_by="moment")
    since = moments.mutate(seconds=moments.moment - moments.moment.lag(max(limit, 1)).over(order))
    return since.group_by(*KEY).aggregate(seconds=since.seconds.min())


def with_key(records: ir.Table) -> ir.Table:
    """The records with ``date`` and ``agent_id``: the device, or the user where no device is logged."""
    return records.mutate(date=records.timestamp.date(), agent_id=ibis.coalesce(records.anonymous_id, records.logged_user_id))


def is_static(url: ir.StringValue, extensions: Sequence[str]) -> ir.BooleanValue:
    """Whether an address (without query string) is that of a static asset."""
    return url.lower().re_extract(r"\.([a-z0-9]{1,5})$", 1).isin([name.lower() for name in extensions])


def _loading(days: ir.Table) -> ir.Table:
    """``source``, ``day``, ``date``, ``loading``: whether browsers load assets through this log on this date."""
    reading = days.filter(days.pages >= FEWEST_PAGES).group_by("source", "day", "date")
    counted = reading.aggregate(devices=lambda table: table.count(), loaded=lambda table: (table.assets > 0).sum())
    enough = (counted.devices >= FEWEST_DEVICES) & (counted.loaded >= LOADING_SHARE * counted.devices)
    everything = days.select("source", "day", "date").distinct()
    known = everything.left_join(counted.mutate(loading=enough), ["source", "day", "date"])
    return known.select("source", "day", "date", loading=known.loading.fill_null(False))
