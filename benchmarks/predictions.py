"""Predictions on UCI Online Retail: who buys in the last 30 days, and who spends after 2011-06-06, beside plain forecasts.

    python benchmarks/predictions.py

The data are looked for below PERSONA_SHARED_DATA, default ../shared/data.
"""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path

import numpy as np

from persona_pipelines.events.listings import refresh_items, refresh_users
from persona_pipelines.events.refresh import refresh_events
from persona_pipelines.logs.loading import available_days, load_events, load_listing
from persona_pipelines.profiles.forecasting import BASELINES, buyers_of
from persona_pipelines.profiles.predictions import judge_amount, judge_probability
from persona_pipelines.profiles.windows import Past, window
from persona_pipelines.settings import load_settings
from persona_pipelines.warehouse.connection import Warehouse

warnings.filterwarnings("ignore")
CONFIGURATION = Path(__file__).parents[1] / "data" / "configs" / "online-retail.yaml"
BUYING, SPENDING = dt.date(2011, 11, 8), dt.date(2011, 6, 6)
SHOWN = ["model", "users", "base_rate", "auc", "calibration_error", "lift", "spearman", "mean_absolute_error", "validation", "chosen"]


def main() -> None:
    settings = load_settings(CONFIGURATION)
    first, last = available_days(settings) or (settings.start_date, settings.start_date)
    with Warehouse(None, b"k" * 32) as store:
        for source in settings.sources:
            if source.kind == "events":
                load_events(store, source, settings, first, last)
            else:
                load_listing(store, source, settings)
        refresh_events(store, settings, first, last)
        refresh_items(store, settings)
        refresh_users(store, settings)
        windows = [window(Past(store, "UTC"), BUYING - dt.timedelta(days=30 * back), 30) for back in (3, 2, 1, 0)]
        found = judge_probability(windows, "bought", windows[-1].features, None, 20)
        print(f"buying within 30 days after {BUYING}, learned from windows that end before it")
        print(found.table[SHOWN].round(4).to_string(index=False, na_rep=""))
        # The longest windows that half a year of history before the day allows; judged on all that came after it.
        taught = [buyers_of(window(Past(store, "UTC"), SPENDING - dt.timedelta(days=back), 60)) for back in (120, 60)]
        newest = buyers_of(window(Past(store, "UTC"), SPENDING, (last - SPENDING).days))
        spend = judge_amount([*taught, newest], newest.features, BASELINES, 60, 60, 20)
        print(f"\nspend after {SPENDING} until {last} of those who had bought before")
        print(spend.table[SHOWN].round(4).dropna(axis=1, how="all").to_string(index=False))
        print(f"total spent {np.sum(newest.spent):,.0f}")


if __name__ == "__main__":
    main()
