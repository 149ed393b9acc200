"""Who follows whom, as of a moment."""

from __future__ import annotations

import ibis.expr.types as ir

FOLLOWING = ("follow", "unfollow")


def follows(events: ir.Table) -> ir.Table:
    """``user_id``, ``target_user_id``: who follows whom after the last follow or unfollow of each pair; nobody follows themselves."""
    told = events.filter(
        events.user_id.notnull()
        & events.target_user_id.notnull()
        & events.event_type.isin(FOLLOWING)
        & (events.target_user_id != events.user_id)
    )
    # Of two at the same moment, the one that begins it counts.
    order = told.timestamp.epoch_seconds().cast("int64") * 2 + (told.event_type == FOLLOWING[0]).cast("int64")
    pairs = told.mutate(order=order).group_by("user_id", "target_user_id").aggregate(last=lambda pair: pair.event_type.argmax(pair.order))
    return pairs.filter(pairs["last"] == FOLLOWING[0]).select("user_id", "target_user_id")


def followers(events: ir.Table) -> tuple[ir.Table, ir.Table]:
    """``user_id`` with ``followers``, and with ``following``: how many follow each, and how many each follows."""
    edges = follows(events)
    followed = edges.select(user_id="target_user_id", follower="user_id")
    return (
        followed.group_by("user_id").aggregate(followers=followed.count()),
        edges.group_by("user_id").aggregate(following=edges.count()),
    )
