"""How far the logs reach, as far as that is known without reading them: what Dagster shows as pieces ends there."""

from __future__ import annotations

import datetime as dt

from persona_pipelines.logs.files import dates_in_names
from persona_pipelines.settings import Settings


def last_known_day(settings: Settings) -> dt.date | None:
    """The last day of the logs of events: by the dates in names of files, else by what a run has published of them; None where it is not known.

    It is not known where a source without dates has files that no run has read as they are now, and where there is no file at all.
    """
    sources = settings.sources_of("events")
    today = dt.datetime.now(dt.UTC).date()
    days = [day for source in sources if source.dated for day in dates_in_names(source, settings) if settings.start_date <= day <= today]
    if not all(source.dated for source in sources):
        from persona_pipelines.logs.arrivals import days_read_of_undated  # reads the published copy, which a start has no time for

        read = days_read_of_undated(settings)
        if read is None:
            return None
        days += [day for day in read if settings.start_date <= day <= today]
    return max(days, default=None)
