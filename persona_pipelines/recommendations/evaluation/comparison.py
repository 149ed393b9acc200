"""Every model on the same training and the same test: all users, each segment, new users, new items."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.parallel import side_by_side
from persona_pipelines.recommendations.data import Audience, Interactions, positions
from persona_pipelines.recommendations.evaluation.metrics import Catalogue, Scores, rating_errors, score
from persona_pipelines.recommendations.evaluation.splits import Split
from persona_pipelines.recommendations.models import Hybrid, recommender
from persona_pipelines.recommendations.models.hybrid import Window
from persona_pipelines.recommendations.models.learned import USERS_AT_ONCE, LearnedModel, ModelError, RatingModel, best_of, leaving_out
from persona_pipelines.settings.recommendations import HybridSettings, MethodSettings

WARM, NEW_USER, NEW_ITEM = "warm", "new user", "new item"
TRIED_USERS = 256
ALL = "all"


@dataclass(frozen=True)
class Task:
    """A split made ready for judging.

    Attributes:
        training: what models learn from.
        audience: the users of the test, in their order there.
        relevant: shape (users, items and more): the test; columns behind the catalogue are items that nobody could know of.
        exclude: shape (users, items): what is not to be recommended; None for nothing.
        groups: the segment of each user by name, for figures by segment; shape (users,).
        rated: ``user``, ``item`` (positions in the training) and ``rating`` of the test's ratings.
    """

    split: Split
    training: Interactions
    audience: Audience
    relevant: sp.csr_matrix
    exclude: sp.csr_matrix | None
    groups: np.ndarray
    catalogue: Catalogue
    rated: pd.DataFrame

    def part(self, numbers: np.ndarray) -> Task:
        """The same for some of the users, without their ratings."""
        exclude = None if self.exclude is None else self.exclude[numbers]
        return replace(
            self,
            audience=self.audience.part(numbers),
            relevant=self.relevant[numbers],
            exclude=exclude,
            groups=self.groups[numbers],
            rated=self.rated.head(0),
        )

    @property
    def newest(self) -> dt.datetime:
        """The newest event of the test, as found in it."""
        return self.split.test["last_time"].max().to_pydatetime()

    def window(self) -> Window:
        """The same as a validation window for weights."""
        return Window(self.audience, self.relevant, self.exclude, self.training, self.newest)


@dataclass(frozen=True)
class Judged:
    """One model on one case (``WARM``, ``NEW_USER``, ``NEW_ITEM``) and segment (``ALL`` or a name).

    ``errors`` has rmse and mae of models that predict ratings; ``ms_per_user`` the time that a list took; ``answered`` the share of the
    users for whom the model's order means anything: others get the first items of the catalogue.
    """

    model: str
    case: str
    segment: str
    scores: Scores
    users: np.ndarray
    errors: dict[str, float]
    ms_per_user: float
    answered: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether these are all known users, by whom models are chosen."""
        return (self.case, self.segment) == (WARM, ALL)


def task(
    split: Split,
    users: pd.DataFrame,
    exclude_seen: bool,
    segments: Mapping[str, int] | None = None,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Task:
    """Make a split ready.

    Args:
        users: attributes, for users who are new.
        segments: of users as of the cut, for models that know of segments.
        groups: name of each user's segment, by which figures are told apart.
    """
    training, test = split.training, split.test
    ids = np.array(test["user_id"].unique(), dtype=object)
    row, place = positions(ids, test["user_id"].to_numpy()), positions(training.items, test["item_id"].to_numpy())
    # Unknown items get columns behind the catalogue: relevant, never recommended.
    unknown = place < 0
    extra = pd.factorize(test["item_id"].to_numpy()[unknown])[0]
    column = place.copy()
    column[unknown] = len(training.items) + extra
    width = len(training.items) + (int(extra.max()) + 1 if len(extra) else 0)
    relevant = sp.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(ids), width))
    audience = training.audience(ids, users, segments)
    rating = test["rating"].to_numpy(dtype=float, na_value=np.nan)
    rated = pd.DataFrame({"user": audience.positions[row], "item": place, "rating": rating})
    rated = rated[np.isfinite(rating) & (rated["user"] >= 0) & (rated["item"] >= 0)]
    named = np.array([(groups or {}).get(user, "") for user in ids], dtype=object)
    exclude = audience.seen if exclude_seen else None
    return Task(split, training, audience, relevant, exclude, named, Catalogue.of(training, seed), rated.reset_index(drop=True))


def fit_all(methods: Sequence[MethodSettings], training: Interactions, seed: int) -> tuple[dict[str, LearnedModel], dict[str, str]]:
    """Single methods fitted by name, and the reason of each that cannot be; hybrids are left to ``blend_all``."""
    fitted: dict[str, LearnedModel] = {}
    failed: dict[str, str] = {}
    for settings in methods:
        if isinstance(settings, HybridSettings):
            continue
        with leaving_out(failed, settings.name):
            model = recommender(settings, seed).fit(training)
            require_serviceable(model, training)
            fitted[settings.name] = model
    return fitted, failed


def require_serviceable(model: LearnedModel, training: Interactions, users: pd.DataFrame | None = None) -> None:
    """Raise ModelError where scores of some known users, or of a stranger, are not finite numbers, one for each item.

    Args:
        users: attributes of the known users; None for none.
    """
    ids = np.array([*training.users[:TRIED_USERS], "nobody"], dtype=object)
    scores = model.scores(training.audience(ids, pd.DataFrame({"user_id": []}) if users is None else users))
    if scores.shape != (len(ids), len(training.items)):
        raise ModelError(f"{model.name} gives scores of shape {scores.shape}; expected {(len(ids), len(training.items))}")
    if not np.isfinite(scores).all():
        raise ModelError(f"{model.name} gives scores that are no finite numbers")


def blend_all(
    methods: Sequence[MethodSettings],
    validated: Mapping[str, LearnedModel],
    window: Window,
    fitted: dict[str, LearnedModel],
    training: Interactions,
    k: int,
    seed: int,
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Add each hybrid to ``fitted``, its weights learned on the window by the models ``validated``.

    Returns:
        Weights by hybrid and member, and the reason of each hybrid that cannot be made.
    """
    weights: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    singles = dict(fitted)
    for settings in methods:
        if not isinstance(settings, HybridSettings):
            continue
        hybrid = Hybrid(settings, seed)
        with leaving_out(failed, settings.name):
            both = {name: model for name, model in validated.items() if name in singles}
            learned = hybrid.learned_weights(both, window, k)
            model = hybrid.blend(singles, learned, window.newest, training)
            require_serviceable(model, training)
            weights[settings.name], fitted[settings.name] = learned, model
    return weights, failed


def cross_fitted(settings: HybridSettings, validated: Mapping[str, LearnedModel], inner: Task, k: int, seed: int) -> float:
    """nDCG of a hybrid's known users, each judged by weights that were learned on the other half of them; nan without users.

    On the very window that its weights were learned on, a blend would look better than any single method for that alone.
    """
    known = np.flatnonzero(inner.audience.known())
    order = np.random.default_rng(seed).permutation(known)
    halves = [np.sort(order[::2]), np.sort(order[1::2])]
    hybrid = Hybrid(settings, seed)

    def found(learned: np.ndarray, judged: np.ndarray) -> list[np.ndarray]:
        if not len(judged):
            return []
        window = inner.part(learned).window()
        model = hybrid.blend(validated, hybrid.learned_weights(validated, window, k), window.newest, inner.training)
        return [entry.scores.by_user["ndcg_at_k"] for entry in judge(settings.name, model, inner.part(judged), k) if entry.whole]

    by_user = [scores for half in side_by_side([partial(found, *halves), partial(found, *halves[::-1])]) for scores in half]
    return float(np.concatenate(by_user).mean()) if by_user else float("nan")


def compare(models: Mapping[str, LearnedModel], judged_by: Task, k: int) -> tuple[list[Judged], dict[str, str]]:
    """Every model judged, and the reason of each that cannot be."""
    found: list[Judged] = []
    failed: dict[str, str] = {}
    for name, model in models.items():
        with leaving_out(failed, name):
            found += judge(name, model, judged_by, k)
    return found, failed


def judge(name: str, model: LearnedModel, judged_by: Task, k: int) -> list[Judged]:
    """One model's lists: for known users as a whole and by segment, for new users, and of new items among themselves.

    A case in which the model answers nobody is left out.
    """
    known = judged_by.audience.known()
    started = time.perf_counter()
    best, _ = model.top(judged_by.audience, k, judged_by.exclude)
    ms_per_user = (time.perf_counter() - started) * 1000 / max(len(judged_by.audience), 1)
    scores = score(best, judged_by.relevant, k, judged_by.catalogue)
    errors: dict[str, float] = {}
    if isinstance(model, RatingModel) and len(judged_by.rated):
        predicted = model.predicted_ratings(judged_by.rated["user"].to_numpy(), judged_by.rated["item"].to_numpy())
        errors = rating_errors(predicted, judged_by.rated["rating"].to_numpy())
    answered = model.answers(judged_by.audience)
    groups = [(WARM, group, known & (judged_by.groups == group)) for group in sorted({*judged_by.groups[known]} - {""})]
    found = []
    for case, segment, members in ((WARM, ALL, known), (NEW_USER, ALL, ~known), *groups):
        share = float(answered[members].mean()) if members.any() else 0.0
        if share > 0 or (case == WARM and members.any()):
            ids, wrong = judged_by.audience.ids[members], errors if (case, segment) == (WARM, ALL) else {}
            found.append(Judged(name, case, segment, scores.of(members), ids, wrong, ms_per_user, share))
    among = _new_items(model, judged_by, np.flatnonzero(~judged_by.training.met_items()), k)
    if among is not None:
        found.append(Judged(name, NEW_ITEM, ALL, among[0], among[1], {}, ms_per_user, among[2]))
    return found


def _new_items(model: LearnedModel, judged_by: Task, newcomers: np.ndarray, k: int) -> tuple[Scores, np.ndarray, float] | None:
    """Items that nobody knew in training, ranked among themselves for known users who turned to one; None where all score alike."""
    if not len(newcomers):
        return None
    relevant = sp.csr_matrix(judged_by.relevant[:, newcomers])
    users = np.flatnonzero((np.diff(relevant.indptr) > 0) & judged_by.audience.known())
    if not len(users):
        return None
    lists, differs = [], []
    for start in range(0, len(users), USERS_AT_ONCE):
        scores = model.scores(judged_by.audience.part(users[start : start + USERS_AT_ONCE]))[:, newcomers]
        differs.append(np.ptp(scores, axis=1) > 0)
        lists.append(best_of(np.ascontiguousarray(scores), min(k, len(newcomers)))[0])
    answered = float(np.concatenate(differs).mean())
    if not answered:
        return None
    catalogue = Catalogue(judged_by.catalogue.information[newcomers], judged_by.catalogue.vectors[newcomers])
    return score(np.concatenate(lists), relevant[users], k, catalogue), judged_by.audience.ids[users], answered
