"""The last comparison on the terminal: its verdict, and the decision with its reason."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from persona_pipelines.cli.recommenders import comparison
from persona_pipelines.recommendations import STAGE
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame


def test_the_comparison_ends_with_the_decision_and_its_reason(warehouse: Warehouse) -> None:
    assert comparison(warehouse).lines == ("nobody could be judged: there is no comparison",)
    chosen = {"version": "3", "chosen_by": "gate", "way_back": False, "since": dt.datetime(2025, 10, 1)}
    rows = [{"stage": STAGE, "reason": "refused: old stays", **chosen}, {"stage": "segments", "reason": "the first", **chosen}]
    warehouse.replace(contracts.CHAMPIONS, from_frame(pd.DataFrame(rows)[contracts.CHAMPIONS.column_names]))
    assert comparison(warehouse).facts == {"verdict": ["Decision (gate): refused: old stays."]}
