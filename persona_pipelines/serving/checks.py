"""What has to be true of the memory of served lists and of what came of them."""

from __future__ import annotations

import ibis

from persona_pipelines.features.support import clock_support
from persona_pipelines.findings import Finding
from persona_pipelines.serving.outcomes import OUTCOME_TYPES
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


def lists_are_whole(warehouse: Warehouse) -> Finding:
    """Every line of the log of served lists is as it was written."""
    files = warehouse.table(contracts.LIST_FILES)
    damaged = warehouse.tuples(files.filter(files.damaged > 0).select("source_file", "damaged").order_by("source_file"))
    words = ", ".join(f"{file} {count:,}" for file, count in damaged[:3])
    if len(damaged) > 3:
        words += f" and {len(damaged) - 3:,} more files"
    return Finding(
        not damaged,
        f"lines of served lists that are not as they were written are left out: {words}" if damaged else None,
        {"lists": int(warehouse.value(files.lists.sum().fill_null(0))), "damaged": sum(count for _, count in damaged)},
    )


def only_lists_that_were_seen(warehouse: Warehouse) -> Finding:
    """Nothing came of a list that nobody saw, and nothing came before its list."""
    served, found = warehouse.table(contracts.SERVED_LISTS), warehouse.table(contracts.LIST_OUTCOMES)
    rows = found.inner_join(served.select("list_id", "position", "served_at", "shadow", "person"), ["list_id", "position"])
    first = ibis.least(rows.first_click_at, rows.first_cart_at, rows.first_conversion_at)
    unseen, early = warehouse.row(
        rows.aggregate(
            unseen=(rows.shadow | rows.person.isnull()).sum().fill_null(0),
            early=(first < rows.served_at).fill_null(False).sum().fill_null(0),
        )
    )
    told = [f"{unseen:,} rows are of lists that no person saw"] * bool(unseen) + [f"{early:,} have an outcome before their list"] * bool(
        early
    )
    return Finding(not told, "; ".join(told) or None, {"rows_not_seen": int(unseen), "rows_with_early_outcomes": int(early)})


def no_outcomes_without_consent(warehouse: Warehouse) -> Finding:
    """Nobody who has said no stands behind an outcome."""
    served, found, users = (warehouse.table(contract) for contract in (contracts.SERVED_LISTS, contracts.LIST_OUTCOMES, contracts.USERS))
    people = served.semi_join(found, "list_id").select(user_id="person").distinct()
    refusing = int(warehouse.value(people.semi_join(users.filter(~users.consent_personalisation), "user_id").count()))
    words = f"{refusing:,} users have outcomes and have not consented" if refusing else None
    return Finding(not refusing, words, {"users_without_consent": refusing})


def results_are_of_enough_people(warehouse: Warehouse, settings: Settings) -> Finding:
    """No result is told of fewer people than a segment has at least."""
    fewest, table = settings.segments.minimum_segment_size, warehouse.table(contracts.LIST_RESULTS)
    small = int(warehouse.value((table.people < fewest).sum().fill_null(0)))
    words = f"{small:,} rows are of fewer than {fewest} people" if small else None
    return Finding(not small, words, {"rows": warehouse.rows(contracts.LIST_RESULTS), "rows_of_too_few": small})


def outcomes_have_times(warehouse: Warehouse) -> Finding:
    """Clicks and purchases after lists have times of day; of others nobody can say which list they followed."""
    if not warehouse.rows(contracts.SERVED_LISTS):
        return Finding(True, None, {"events_without_time": 0})
    events = warehouse.table(contracts.EVENTS)
    lost = events.filter(events.event_type.isin(OUTCOME_TYPES) & ~clock_support(warehouse).timed(events))
    counted = warehouse.tuples(lost.group_by("source").aggregate(events=lost.count()).order_by("source"))
    words = ", ".join(f"{count:,} of {source}" for source, count in counted)
    return Finding(
        not counted,
        f"clicks, carts and purchases without a time of day count for no list: {words}" if counted else None,
        {"events_without_time": sum(count for _, count in counted)},
    )
