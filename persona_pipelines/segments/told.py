"""Descriptions of trainings of segments, in Markdown, for MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persona_pipelines.segments.model import Fit
from persona_pipelines.tracking.notes import listed, table

JUDGED = (
    "on the users that it was learned from, as nobody knows the right segments: silhouette, Davies-Bouldin, Calinski-Harabasz; stability is the mean "
    "adjusted Rand index with refits on bootstrap samples"
)
LEAKAGE = "nothing that is to be foreseen is among the features, and none is of a later day"
MEASURES = ("silhouette", "davies_bouldin", "calinski_harabasz", "stability")
MOST_ROWS = 12


def note_of_the_training(fit: Fit, users: int, as_of: str) -> str:
    """The description of a training's run and of the version that came of it.

    Args:
        users: how many it has learned from.
    """
    best = fit.quality[fit.quality["chosen"]].iloc[0]
    ranked = fit.quality.sort_values(["chosen", "silhouette"], ascending=False, kind="stable").head(MOST_ROWS)
    return "\n\n".join(
        [
            f"{len(fit.model.names)} segments of {users:,} users as of {as_of}: {', '.join(fit.model.names)}",
            listed(
                {
                    "Algorithm": f"{best['algorithm']}, {int(best['k'])} segments",
                    "Chosen": fit.reason,
                    "Learned from": f"{len(fit.model.scaler.columns)} features of {users:,} users: {', '.join(fit.model.scaler.columns)}",
                    "Judged": JUDGED,
                    "Leakage": f"{LEAKAGE} than {as_of}",
                }
            ),
            table(ranked[["algorithm", "k", *MEASURES, "chosen"]]),
        ]
    )


def note_of_a_candidate(row: Mapping[str, Any], users: int, as_of: str) -> str:
    """The description of the run of one algorithm with one number of segments. ``row``: of ``contracts.SEGMENT_QUALITY``."""
    place = "The segmentation that is in use after this training." if row["chosen"] else "Another one was chosen."
    about = listed({"Learned from": f"{users:,} users as of {as_of}, or a sample of them", "Judged": JUDGED})
    return f"**{row['algorithm']}** with {int(row['k'])} segments. {place}\n\n{about}"
