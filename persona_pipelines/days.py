"""Days as moments: each begins and ends at midnight, UTC."""

from __future__ import annotations

import datetime as dt


def begin_of(day: dt.date) -> dt.datetime:
    """The first moment of a day.

    >>> begin_of(dt.date(2025, 2, 28))
    datetime.datetime(2025, 2, 28, 0, 0)
    """
    return dt.datetime.combine(day, dt.time())


def end_of(day: dt.date) -> dt.datetime:
    """The first moment after a day.

    >>> end_of(dt.date(2025, 2, 28))
    datetime.datetime(2025, 3, 1, 0, 0)
    """
    return begin_of(day + dt.timedelta(days=1))
