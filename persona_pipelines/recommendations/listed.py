"""Users and items as their lists tell of them at a moment: texts, and numbers in bands whose edges no later row has moved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.events.listings import paid_prices
from persona_pipelines.features.attributes import PREFIX, expanded
from persona_pipelines.recommendations.data import (
    BANDS,
    ITEM_ATTRIBUTES,
    NUMBER,
    USER_ATTRIBUTES,
    Numbers,
    banded,
    numbers,
    tokens,
    with_price_bands,
)
from persona_pipelines.settings import Settings
from persona_pipelines.settings.sources import AttributeType
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.functions import json_text


def known_before(warehouse: Warehouse, contract: contracts.Table, moment: dt.datetime) -> ir.Table:
    """The rows of ``contracts.USERS`` or ``contracts.ITEMS`` that could be known before a moment: those with an event before it, and those
    whose list says that they were there (``signup_date``, ``available_from``)."""
    table, events = warehouse.table(contract), warehouse.table(contracts.EVENTS)
    (key,) = contract.key
    begin = table.signup_date if contract is contracts.USERS else table.available_from
    met = events.filter((events.timestamp < moment) & events[key].notnull())[key]
    return table.filter(table[key].isin(met) | (begin.cast("timestamp") < moment))


def listed_users(warehouse: Warehouse, settings: Settings, moment: dt.datetime) -> pd.DataFrame:
    """Attributes of users as the customer list gives them; what only events tell is left out, so that no test leaks in.

    Args:
        moment: bands of numbers are fixed by what was known before it.
    """
    frame = _users(warehouse, warehouse.table(contracts.USERS))
    return described(warehouse, settings, contracts.USERS, frame, known_before(warehouse, contracts.USERS, moment))


def _users(warehouse: Warehouse, users: ir.Table) -> pd.DataFrame:
    return warehouse.frame(users.filter(users.in_customer_list).mutate(country=users.listed_country).order_by("user_id"))


def listed_items(warehouse: Warehouse, settings: Settings, moment: dt.datetime) -> pd.DataFrame:
    """The catalogue; an item that only events know becomes known with its first event.

    Args:
        moment: prices are those of the catalogue, else what was paid before it; bands are fixed by what was known before it.
    """
    frame = _items(warehouse, warehouse.table(contracts.ITEMS), moment)
    return described(warehouse, settings, contracts.ITEMS, frame, known_before(warehouse, contracts.ITEMS, moment))


def _items(warehouse: Warehouse, items: ir.Table, moment: dt.datetime) -> pd.DataFrame:
    events = warehouse.table(contracts.EVENTS)
    listed = items.filter(items.in_catalogue).drop("price")
    joined = listed.left_join(paid_prices(events.filter(events.timestamp < moment)), "item_id").drop("item_id_right")
    priced = joined.mutate(price=joined.listed_price.fill_null(joined.paid_price)).drop("paid_price")
    return warehouse.frame(priced.order_by("item_id"))


def features_then(
    warehouse: Warehouse, settings: Settings, contract: contracts.Table, moment: dt.datetime, met: np.ndarray
) -> tuple[dict[str, frozenset[str]], pd.DataFrame]:
    """Names of the features of each user or item, and of items their numbers by id, as a list would give them from which all that became known
    later is struck out.

    Args:
        met: ids of items with interactions, by which prices are cut into bands.
    """
    known = known_before(warehouse, contract, moment)
    of_users = contract is contracts.USERS
    frame = described(warehouse, settings, contract, _users(warehouse, known) if of_users else _items(warehouse, known, moment), known)
    (key,) = contract.key
    ids = frame[key].to_numpy(dtype=object)
    of_items = Numbers(np.empty((len(ids), 0)), ()) if of_users else numbers(frame, ids)
    if not of_users:
        frame = with_price_bands(frame, met)
    found = tokens(frame, key, ids, USER_ATTRIBUTES if of_users else ITEM_ATTRIBUTES)
    features = {name: frozenset(row) for name, row in zip(ids, found, strict=True)}
    return features, pd.DataFrame(of_items.matrix, index=ids, columns=list(of_items.names))


def described(
    warehouse: Warehouse, settings: Settings, contract: contracts.Table, frame: pd.DataFrame, known: ir.Table | None = None
) -> pd.DataFrame:
    """Rows of ``contracts.USERS`` or ``contracts.ITEMS`` with a text column ``attributes.NAME`` for each attribute in place of
    ``attributes``; None where unknown. Numbers and dates are ``band 0`` to ``band 4``, and beside that a column ``numbers.NAME``.

    Args:
        known: the rows by whose fifths the bands are cut; None for the whole table.
    """
    types = settings.learned_attributes() if contract is contracts.USERS else settings.attributes_of("items")
    if "attributes" not in frame:
        return frame
    found = expanded(frame, types)
    for name, edges in _edges(warehouse, warehouse.table(contract) if known is None else known, types).items():
        found[NUMBER + name] = found[PREFIX + name]
        found[PREFIX + name] = banded(found[NUMBER + name].to_numpy(), edges)
    return found


def _edges(warehouse: Warehouse, table: ir.Table, types: Mapping[str, AttributeType]) -> dict[str, np.ndarray]:
    wanted = [name for name, kind in types.items() if kind in ("number", "date")]
    if not wanted:
        return {}
    measures = {}
    for name in wanted:
        text = json_text(table.attributes, f'$."{name}"')
        value = text.try_cast("float64") if types[name] == "number" else text.try_cast("date").epoch_seconds() / 86_400.0
        for band in range(1, BANDS):
            measures[f"{name} {band}"] = value.quantile(band / BANDS)
    found = dict(zip(measures, warehouse.row(table.aggregate(**measures)), strict=True))
    edges = {name: np.array([found[f"{name} {band}"] for band in range(1, BANDS)], dtype=float) for name in wanted}
    return {name: np.unique(values[np.isfinite(values)]) for name, values in edges.items()}
