"""The order of users: the same in every home, because it comes from the logs and not from the pseudonyms.

Pseudonyms are made with a key of each home's own. What is drawn by place, split into halves, broken by a tie or summed in floating point would
come out otherwise in every home if users stood in the order of their ids. So whoever needs users in an order takes this one, by ``in_order``.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

PLACE = ("source", "source_file", "source_line", "source_part")
"""Where a record stands; no two records stand in the same place."""
EVENT_ORDER = ("timestamp", *PLACE)
"""Events of the same moment follow their lines, file by file."""


def user_order(listed: ir.Table, events: ir.Table) -> ir.Table:
    """``contracts.USER_ORDER``: users by their first event, events of the same moment by their places; then those in lists alone, by theirs.

    Later events add users behind those that are there, so that the users of a past day stand as they stood then. This is the project's own
    definition.

    Args:
        listed: ``user_id`` and ``PLACE`` of the customer lists, one row a user.
        events: cleaned events.
    """
    known = events.filter(events.user_id.notnull())
    firsts = known.group_by("user_id").aggregate(first_time=known.timestamp.min())
    # Places are compared among the events of a first moment alone: names of files are slow to sort.
    begun = known.inner_join(firsts, ["user_id", known.timestamp == firsts.first_time])
    by_user = ibis.window(group_by="user_id", order_by=[begun[name] for name in PLACE])
    appeared = begun.mutate(number=ibis.row_number().over(by_user)).filter(lambda table: table.number == 0)
    appeared = appeared.select("user_id", "first_time", *PLACE)
    unseen = (
        listed.anti_join(firsts, "user_id").mutate(first_time=ibis.null(known.timestamp.type())).select("user_id", "first_time", *PLACE)
    )
    both = ibis.union(appeared, unseen)
    order = ibis.window(order_by=[both.first_time.isnull(), both.first_time, *(both[name] for name in PLACE)])
    return both.select("user_id", user_number=ibis.row_number().over(order))


def in_order(warehouse: Warehouse, table: ir.Table, *then: str) -> pd.DataFrame:
    """The rows of a table with ``user_id`` by ``user_number``, which they get as a last column, then by other columns.

    Who has no number, because the order was made before the events came, stands last, by id.
    """
    order = warehouse.table(contracts.USER_ORDER)
    numbered = table.left_join(order, "user_id").drop("user_id_right")
    return warehouse.frame(numbered.order_by("user_number", "user_id", *then))
