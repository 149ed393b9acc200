"""The catalogue of items and the list of users: what their sources say, completed by what only the events know."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from persona_pipelines.events.ordering import PLACE, user_order
from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


def refresh_items(warehouse: Warehouse, settings: Settings) -> None:
    """Write ``events.items``, and the rejects and duplicates of its sources."""
    with warehouse.transaction(), warehouse.scratch():
        listed = _listed(warehouse, settings, "items")
        warehouse.replace(contracts.ITEMS, items(listed, warehouse.table(contracts.EVENTS)))


def refresh_users(warehouse: Warehouse, settings: Settings) -> None:
    """Write ``events.users`` and ``events.user_order``, and the rejects and duplicates of its sources."""
    with warehouse.transaction(), warehouse.scratch():
        listed, events = _listed(warehouse, settings, "users"), warehouse.table(contracts.EVENTS)
        warehouse.replace(contracts.USERS, users(listed, events, settings.privacy.consent_when_unknown))
        warehouse.replace(contracts.USER_ORDER, user_order(listed, events))


def _listed(warehouse: Warehouse, settings: Settings, kind: str) -> ir.Table:
    """The good records of all sources of a kind, the first of each id, with their places; the others go to rejects, duplicates, filtered."""
    contract = contracts.ITEMS if kind == "items" else contracts.USERS
    key = contract.key[0]
    columns = [name for name in contract.column_names if name not in contracts.NOT_LISTED]
    tables = []
    for number, source in enumerate(settings.sources_of(kind)):
        table = warehouse.table(contracts.raw_listing(source.name, kind))
        tables.append(
            table.mutate(source=ibis.literal(source.name), source_number=ibis.literal(number), day=ibis.null("date"), event_id=table[key])
        )
    for target in (contracts.REJECTS, contracts.DUPLICATES, contracts.FILTERED):
        warehouse.ensure(target)
        for source in settings.sources_of(kind):
            warehouse.delete_where(target, source=source.name)
    if not tables:
        placed = {name: contracts.EVENTS.column(name).type for name in PLACE}
        return ibis.memtable([], schema=ibis.schema({**{name: contract.column(name).type for name in columns}, **placed}))
    records = ibis.union(*tables) if len(tables) > 1 else tables[0]
    bad = records.filter(records.problem.notnull())
    warehouse.append(contracts.REJECTS, bad.mutate(reason=bad.problem))
    dropped = records.filter(records.problem.isnull() & records.dropped.notnull())
    # What is dropped need not have an id: its place stands for one.
    place_of = dropped.source_file.cast("string") + ":" + dropped.source_line.cast("string")
    warehouse.append(contracts.FILTERED, dropped.mutate(reason=dropped.dropped, event_id=ibis.coalesce(dropped.event_id, place_of)))
    good = records.filter(records.problem.isnull() & records.dropped.isnull())
    place = [good.source_number, good.source_file, good.source_line, good.source_part]
    by_key = ibis.window(group_by=key, order_by=place)
    said = ibis.struct({name: good[name] for name in columns if name != key}).hash()
    ranked = good.mutate(
        copy=ibis.row_number().over(by_key),
        kept_file=good.source_file.first().over(by_key),
        kept_line=good.source_line.first().over(by_key),
        differs=said != said.first().over(by_key),
    )
    ranked = warehouse.keep("listed", ranked)
    warehouse.append(contracts.DUPLICATES, ranked.filter(ranked.copy > 0))
    return ranked.filter(ranked.copy == 0).select(*columns, *PLACE)


def items(listed: ir.Table, events: ir.Table) -> ir.Table:
    """``contracts.ITEMS`` from the catalogue and the events."""
    paid = paid_prices(events)
    seen = events.filter(events.item_id.notnull()).select("item_id").distinct()
    known = ibis.union(seen, listed.select("item_id"), distinct=True)
    joined = (
        known.left_join(listed.mutate(in_catalogue=True), "item_id").drop("item_id_right").left_join(paid, "item_id").drop("item_id_right")
    )
    return joined.mutate(
        listed_price=joined.price,
        price=ibis.coalesce(joined.price, joined.paid_price),
        categories=ibis.coalesce(joined.categories, joined.category),
        in_catalogue=joined.in_catalogue.fill_null(False),
    )


def paid_prices(events: ir.Table) -> ir.Table:
    """``item_id``, ``paid_price``: the median paid per piece; of items that some event bought."""
    bought = events.filter(events.event_type.isin(SPENDING_TYPES) & (events.quantity.fill_null(1) > 0) & (events.value >= 0))
    return bought.group_by("item_id").aggregate(paid_price=(bought.value / bought.quantity.fill_null(1)).quantile(0.5))


def users(listed: ir.Table, events: ir.Table, consent_when_unknown: bool) -> ir.Table:
    """``contracts.USERS`` from the customer list and the events."""
    seen = events.filter(events.user_id.notnull()).group_by("user_id").aggregate(seen_country=events.country.max())
    known = ibis.union(seen.select("user_id"), listed.select("user_id"), distinct=True)
    joined = known.left_join(listed.mutate(in_customer_list=True), "user_id").drop("user_id_right")
    joined = joined.left_join(seen, "user_id").drop("user_id_right").left_join(said_of_lists(events), "user_id").drop("user_id_right")
    return joined.mutate(
        listed_country=joined.country,
        country=ibis.coalesce(joined.country, joined.seen_country),
        consent_personalisation=ibis.coalesce(joined.said, joined.consent_personalisation, consent_when_unknown),
        consent_marketing=joined.consent_marketing.fill_null(consent_when_unknown),
        in_customer_list=joined.in_customer_list.fill_null(False),
    )


def said_of_lists(events: ir.Table) -> ir.Table:
    """``user_id``, ``said``, ``said_at``: whether lists may be made for a person, by the last event that says so, and when; of several of one moment a no counts."""
    told = events.filter((events.event_type == "personalisation") & events.user_id.notnull() & events.value.notnull())
    last = told.mutate(last=told.timestamp.max().over(ibis.window(group_by="user_id")))
    last = last.filter(last.timestamp == last["last"])
    return last.group_by("user_id").aggregate(said=last.value.min() > 0, said_at=last.timestamp.max())
