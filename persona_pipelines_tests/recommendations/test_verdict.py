"""What a comparison has decided, in sentences."""

from __future__ import annotations

import pandas as pd

from persona_pipelines.recommendations.verdict import verdict

SCORES = {"ease": 0.31, "als": 0.30, "hybrid": 0.33, "most_popular": 0.1, "random": 0.05}


def compared(champion: str, segment: str = "all") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model": model,
                "case": "warm",
                "segment": segment,
                "k": 10,
                "users": 1200,
                "ndcg_at_k": score,
                "ndcg_low": score - 0.01,
                "ndcg_high": score + 0.01,
                "champion": model == champion,
            }
            for model, score in SCORES.items()
        ]
    )


def ahead(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["model", "against", "advantage", "low", "high"])


AGAINST_EASE = ahead(
    ("als", "ease", -0.01, -0.02, 0.005),
    ("hybrid", "ease", 0.02, 0.01, 0.03),
    ("most_popular", "ease", -0.21, -0.25, -0.17),
    ("random", "ease", -0.26, -0.3, -0.2),
    ("ease", "most_popular", 0.21, 0.17, 0.25),
)


def test_the_first_sentence_decides() -> None:
    first, second, third = verdict(compared("ease"), AGAINST_EASE)
    assert first == (
        "Champion: ease, nDCG@10 0.310 (0.300 to 0.320) for 1,200 known users; ahead of most_popular by 0.210 (+0.170 to +0.250)."
    )
    assert second == "Of the 4 others it beats 2 beyond doubt; not to be told from als."
    assert third.startswith("Ahead of it on this test: hybrid (by 0.020, 0.010 to 0.030)")


def test_a_champion_that_is_the_most_popular_is_compared_with_what_it_beats() -> None:
    only = ahead(("ease", "most_popular", 0.01, -0.01, 0.03))
    assert verdict(compared("most_popular"), only) == [
        "Champion: most_popular, nDCG@10 0.100 (0.090 to 0.110) for 1,200 known users.",
        "Of the 1 others it beats 0 beyond doubt; not to be told from ease.",
    ]


def test_where_nobody_could_be_judged_nothing_is_said() -> None:
    assert verdict(compared("ease").head(0), AGAINST_EASE.head(0)) == []
    assert verdict(compared("ease", segment="Night owls"), AGAINST_EASE) == []
    assert verdict(compared("nobody"), AGAINST_EASE) == []
