"""Whose events are they: an anonymous visitor's events belong to the user they logged in as, from then and before.

A rule over the events, computed anew whenever they change, so that nothing is ever merged for good: an event keeps the
user that its record names; an anonymous one gets the last user seen on its device up to then and not logged out since, else
the first one after, where nobody was seen before. Two people on one device so stay two; what comes after a logout is
nobody's until the next login; and a device that more than a few people log in on is no sign of any of them. This is the
project's own definition.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from persona_pipelines.events.ordering import EVENT_ORDER


def visitor_of(events: ir.Table) -> ir.StringValue:
    """Whose session an event belongs to: the user where known, else the device."""
    return ibis.coalesce(events.user_id, events.anonymous_id)


def with_visitors(events: ir.Table) -> ir.Table:
    """Stored events with ``visitor_id`` and ``logged_user_id``, the user that the record itself names."""
    return events.mutate(visitor_id=visitor_of(events), logged_user_id=ibis.ifelse(events.stitched, None, events.user_id))


def device_users(events: ir.Table) -> ir.Table:
    """One row a device that somebody logged in on: ``anonymous_id``, ``users`` (how many), ``only_user`` (one of them), ``logouts``.

    Args:
        events: columns ``anonymous_id``, ``logged_user_id``, ``event_type``; complete for each device in it.
    """
    told = events.filter((events.logged_user_id.notnull() | (events.event_type == "logout")) & events.anonymous_id.notnull())
    devices = told.group_by("anonymous_id").aggregate(
        users=told.logged_user_id.nunique(), only_user=told.logged_user_id.max(), logouts=(told.event_type == "logout").sum()
    )
    return devices.filter(devices.users > 0)


def users_on_shared_devices(events: ir.Table, devices: ir.Table, most_users: int) -> ir.Table:
    """``event_id`` and ``decided_user`` of the events on devices where their order matters: several users, or a logout.

    Args:
        events: columns ``event_id``, ``anonymous_id``, ``logged_user_id``, ``event_type`` and those of ``EVENT_ORDER``.
        most_users: devices with more users are nobody's: only what their records name counts.
    """
    ordered = devices.filter((devices.users <= most_users) & ((devices.users > 1) | (devices.logouts > 0)))
    contested = events.semi_join(ordered, "anonymous_id").select("event_id", "anonymous_id", "logged_user_id", "event_type", *EVENT_ORDER)
    # A login opens a stretch of the device's events, a logout ends one behind itself; the stretch before both is number 0.
    so_far = ibis.window(group_by="anonymous_id", order_by=[contested[name] for name in EVENT_ORDER], preceding=None, following=0)
    logout = (contested.event_type == "logout").cast("int64")
    login = (contested.logged_user_id.notnull() & (contested.event_type != "logout")).cast("int64")
    numbered = contested.mutate(stretch=login.sum().over(so_far) + logout.sum().over(so_far) - logout)
    user = numbered.logged_user_id
    of_stretch = ibis.window(group_by=["anonymous_id", "stretch"])
    # Who opened the stretch; a logout may name somebody else, who was gone already. Only at the begin of all does it tell who was there.
    opened = ibis.ifelse(numbered.event_type != "logout", user, None)
    latest = ibis.coalesce(opened.max().over(of_stretch), ibis.ifelse(numbered.stretch == 0, user.max().over(of_stretch), None))
    first = ibis.ifelse(numbered.stretch == 1, opened, None).max().over(ibis.window(group_by="anonymous_id"))
    return numbered.select("event_id", decided_user=ibis.coalesce(user, latest, ibis.ifelse(numbered.stretch == 0, first, None)))


def stitched(events: ir.Table, devices: ir.Table, decided: ir.Table) -> ir.Table:
    """Add ``user_id`` and ``visitor_id``.

    Args:
        events: columns ``event_id``, ``anonymous_id``, ``logged_user_id``, ``timestamp``.
        devices: ``device_users`` of them.
        decided: ``users_on_shared_devices`` of them.
    Returns:
        The same rows; ``user_id`` may be null, ``visitor_id`` is the user, else the device.
    """
    single = devices.filter((devices.users == 1) & (devices.logouts == 0)).select(single_device="anonymous_id", only_user="only_user")
    joined = events.left_join(single, events.anonymous_id == single.single_device)
    renamed = decided.select(decided_event="event_id", decided_user="decided_user")
    joined = joined.left_join(renamed, joined.event_id == renamed.decided_event)
    user = ibis.coalesce(joined.logged_user_id, joined.only_user, joined.decided_user)
    placed = joined.mutate(user_id=user, visitor_id=ibis.coalesce(user, joined.anonymous_id))
    return placed.drop("single_device", "only_user", "decided_event", "decided_user")
