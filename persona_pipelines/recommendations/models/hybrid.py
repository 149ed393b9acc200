"""A blend of other methods, its weights learned on a validation window; with rules for new users and new items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience, Interactions
from persona_pipelines.recommendations.evaluation.metrics import ndcg
from persona_pipelines.recommendations.models.content_based import text_vectors
from persona_pipelines.recommendations.models.factors import FactorModel
from persona_pipelines.recommendations.models.followed import FollowedModel
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError, best_of
from persona_pipelines.recommendations.models.most_popular import PopularityModel
from persona_pipelines.recommendations.models.segment_popular import SegmentPopularityModel
from persona_pipelines.settings.recommendations import HybridSettings

GRID = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
ROUNDS = 4
NEW_ITEMS = "new items"
"""Name of the weight by which the scores of items that nobody has turned to yet are multiplied."""
ALIKE = 20


def standardised(scores: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and deviation 1; a row without differences becomes 0."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-6 * np.abs(scores).max(initial=1e-12))


def alike(interactions: Interactions, neighbours: int = ALIKE) -> sp.csr_matrix:
    """The items most like each new item, shape (items, items): rows of new items sum to just below 1, others are empty.

    By features, else by texts. Features say what kind of item it is, the members' scores of that kind say who wants it
    (Gantner et al. 2010 map attributes to factors for the same end).
    """
    from sklearn.preprocessing import normalize

    count = len(interactions.items)
    known = interactions.met_items()
    new = np.flatnonzero(~known)
    empty = sp.csr_matrix((count, count), dtype=np.float32)
    if not len(new) or not known.any():
        return empty
    by_features = bool(interactions.item_features.names)
    vectors = normalize(interactions.item_features.matrix) if by_features else text_vectors(interactions.texts)
    if not vectors.shape[1]:
        return empty
    others = np.flatnonzero(known)
    step = max(1, 4_000_000 // len(others))
    parts = []
    for start in range(0, len(new), step):
        rows = new[start : start + step]
        best, value = best_of((vectors[rows] @ vectors[others].T).toarray().astype(np.float32), min(neighbours, len(others)))
        value = np.where((best >= 0) & (value > 0), value, 0)
        value = value / (value.sum(axis=1, keepdims=True) + 1)
        row, place = np.repeat(rows, best.shape[1]), others[np.maximum(best, 0)].ravel()
        parts.append(sp.csr_matrix((value.ravel(), (row, place)), shape=(count, count), dtype=np.float32))
    found = sp.csr_matrix(sum(parts[1:], parts[0]))
    found.eliminate_zeros()
    return found


def with_new_items(member: LearnedModel, audience: Audience, similar: sp.csr_matrix) -> np.ndarray:
    """Standardised scores of a member, shape (n, items): those of new items are the weighted mean of the items alike, unless the member knows them."""
    scores = standardised(member.scores(audience))
    new = np.flatnonzero(np.diff(similar.indptr) > 0)
    if not member.scores_new_items:
        scores[:, new] = (similar[new] @ scores.T).T
    return scores


def expert_of(members: Mapping[str, LearnedModel]) -> str | None:
    """The member that knows new items, the first of several; None where none does."""
    return next((name for name, member in members.items() if member.scores_new_items), None)


@dataclass(frozen=True)
class BlendModel(LearnedModel):
    """The weighted sum of its members' standardised scores.

    Texts: ``members``, names in the order of ``state["weights"]``; ``weights_until``: the newest event that they were learned from.
    State: ``weights`` of shape (members,); ``alike`` of shape (items, items), for each item that nobody had turned to in training the
    items most like it by features; ``new_items_weight``; ``short_history``.

    Who is answered by what:
        users known in training: by all members that can answer them.
        new users: by the first of whom they follow, features (a model that knows some of their attributes, beside popularity), segment (what
            theirs turns to) and popularity; those who have n interactions by all members that read a history, which count
            n / (n + short_history).
        new items: by the member that knows them by what they say of themselves, for the users whom it answers; else as the mean of the
            items most like them.
    """

    parts: Mapping[str, LearnedModel] = field(default_factory=dict)
    kind = "blend"

    def members(self) -> dict[str, LearnedModel]:
        return dict(self.parts)

    @property
    def weights_learned_until(self) -> pd.Timestamp:
        return pd.Timestamp(self.texts["weights_until"][0])

    def answers(self, audience: Audience) -> np.ndarray:
        return np.ones(len(audience), dtype=bool)

    def factors(self, audience: Audience) -> dict[str, np.ndarray]:
        """How much each member counts for each user, arrays of shape (n,); members that count for nobody are left out."""
        weights = dict(zip(self.texts["members"], np.asarray(self.state["weights"], dtype=float), strict=True))
        answers = {name: member.answers(audience) for name, member in self.parts.items()}
        popular, segment, circle = (
            [name for name, member in self.parts.items() if isinstance(member, kind)]
            for kind in (PopularityModel, SegmentPopularityModel, FollowedModel)
        )
        described = [name for name, member in self.parts.items() if _by_features(member)]
        length = np.diff(audience.history.indptr)
        trust = np.where(audience.known(), 1.0, length / np.maximum(length + float(self.state["short_history"]), 1e-9))
        found = {name: np.where(answers[name], weights[name] * trust, 0.0) for name in self.parts}
        for name in described:
            # Of a new user it knows the attributes alone: that is the rule below, not the history.
            found[name] = np.where(audience.known(), found[name], 0.0)
        nothing = sum(found.values(), np.zeros(len(audience))) == 0
        rule = np.where(nothing, 1.0, 1.0 - trust)
        for name in (*circle[:1], *described[:1], *segment[:1], *popular[:1]):
            now = (rule > 0) & answers[name]
            found[name] = found[name] + rule * now
            if name in described:
                for other in popular:
                    found[other] = found[other] + rule * now * weights[other]
            rule = np.where(now, 0.0, rule)
        return {name: factor for name, factor in found.items() if factor.any()}

    def added(self, audience: Audience) -> Iterator[tuple[str, np.ndarray]]:
        """What each member adds to the scores, arrays of shape (n, items) that sum to them."""
        factors, similar, weight = self.factors(audience), self.state["alike"], float(self.state["new_items_weight"])
        new = np.flatnonzero(np.diff(similar.indptr) > 0)
        fresh, expert = factors, expert_of(self.parts)
        if expert is not None and len(new):
            answered = self.parts[expert].answers(audience)
            whole = sum(factors.values(), np.zeros(len(audience)))
            fresh = {name: np.where(answered, 0.0, factor) for name, factor in factors.items()}
            fresh[expert] = np.where(answered, whole, factors.get(expert, 0.0))
        for name in fresh:
            scores = with_new_items(self.parts[name], audience, similar)
            added = scores * factors.get(name, np.zeros(len(audience)))[:, None]
            added[:, new] = weight * scores[:, new] * fresh[name][:, None]
            yield name, added.astype(np.float32)

    def contributions(self, audience: Audience, places: np.ndarray) -> dict[str, np.ndarray]:
        """What each member adds to the scores of some items: ``places`` and the results have shape (n, k)."""
        return {name: np.take_along_axis(added, np.maximum(places, 0), axis=1) for name, added in self.added(audience)}

    def scores(self, audience: Audience) -> np.ndarray:
        total = np.zeros((len(audience), len(self.items)), dtype=np.float32)
        for _, added in self.added(audience):
            total += added
        return total

    @classmethod
    def restored(cls, name: str, users: np.ndarray, items: np.ndarray, digest: str, state: Any, texts: Any, members: Any) -> BlendModel:
        named = {member.name: member for member in members.values()}
        return cls(name, users, items, digest, state, texts, named)


def _by_features(member: LearnedModel) -> bool:
    return isinstance(member, FactorModel) and "user_feature_factors" in member.state


@dataclass(frozen=True)
class Window:
    """A validation window: users with what they did in it.

    Attributes:
        audience: users as of the window's begin.
        relevant: shape (n, items), above 0 for what each turned to in the window.
        exclude: shape (n, items), above 0 for what may not be recommended; None for nothing.
        training: what the members were fitted on.
        newest: the newest event of the window.
    """

    audience: Audience
    relevant: Any
    exclude: Any
    training: Interactions
    newest: dt.datetime


class Hybrid:
    """A linear blend (Burke 2002, weighted hybrid) of standardised scores; its weights by coordinate ascent on nDCG.

    Cost: the members' own, and for the weights a table of validation users * candidates * members, a few hundred passes.
    """

    def __init__(self, settings: HybridSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.name = settings.name

    def chosen(self, models: Mapping[str, LearnedModel]) -> dict[str, LearnedModel]:
        """The members among fitted models: those named, else all single ones that are not made for the next click.

        What somebody turns to over weeks is another question than what comes next: members that look at the last items alone fit a small validation
        window by chance (MovieLens by time: with them the lead over the popular items of a week is no longer beyond doubt).

        Raises:
            ModelError: none of them could be fitted.
        """
        single = {name: model for name, model in models.items() if not isinstance(model, BlendModel)}
        if self.settings.members:
            found = {name: model for name, model in single.items() if name in self.settings.members}
        else:
            found = {name: model for name, model in single.items() if not (isinstance(model, HistoryModel) and model.knows_order)}
        if not found:
            raise ModelError("none of its members could be fitted")
        return found

    def learned_weights(self, models: Mapping[str, LearnedModel], window: Window, k: int) -> dict[str, float]:
        """Weights of the members on a validation window, summing to 1, and that of ``NEW_ITEMS``; members that do not help get 0.

        Args:
            models: fitted on ``window.training``.
        """
        members = self.chosen(models)
        usable = np.flatnonzero(np.diff(window.relevant.indptr) > 0)
        usable = usable[(window.audience.known() | window.audience.active())[usable]]
        generator = np.random.default_rng(self.seed)
        if len(usable) > self.settings.validation_users:
            usable = np.sort(generator.choice(usable, self.settings.validation_users, replace=False))
        if not len(usable):
            # Nobody to learn from: all the same.
            return dict.fromkeys(members, 1.0 / len(members))
        table = _candidates(members, window, usable, self.settings.candidates)
        return _ascent(table, k)

    def blend(
        self, models: Mapping[str, LearnedModel], weights: Mapping[str, float], until: dt.datetime, interactions: Interactions
    ) -> BlendModel:
        """The blend of fitted models.

        Args:
            until: the newest event of the window on which the weights were learned.
        """
        members = self.chosen(models)
        # Popularity, segments, whom they follow and features stay, whatever their weight: the rules for new users and items need them.
        kept = {
            name: model
            for name, model in members.items()
            if weights.get(name, 0) > 0
            or isinstance(model, (PopularityModel, SegmentPopularityModel, FollowedModel))
            or _by_features(model)
            or model.scores_new_items
        }
        kept = dict(sorted(kept.items(), key=lambda entry: -weights.get(entry[0], 0.0)))
        state = {
            "weights": np.array([weights.get(name, 0.0) for name in kept]),
            "new_items_weight": np.array(weights.get(NEW_ITEMS, 1.0)),
            "alike": alike(interactions),
            "short_history": np.array(self.settings.short_history),
        }
        texts = {"members": tuple(kept), "weights_until": (until.isoformat(),)}
        return BlendModel(self.name, interactions.users, interactions.items, interactions.digest, state, texts, kept)


def _candidates(members: Mapping[str, LearnedModel], window: Window, users: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """For each user the union of the members' best: ``relevant`` and each member's standardised scores, shape (users, candidates).

    ``allowed`` is False for what only fills a row: it never ranks.
    """
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*members, "relevant", "allowed", "ideal", NEW_ITEMS)}
    similar = alike(window.training)
    is_new, expert = np.diff(similar.indptr) > 0, expert_of(members)
    width = min(count * len(members), int((~is_new).sum())) + min(count * (1 if expert else len(members)), int(is_new.sum()))
    for start in range(0, len(users), 256):
        numbers = users[start : start + 256]
        audience = window.audience.part(numbers)
        exclude = None if window.exclude is None else window.exclude[numbers]
        scores = {name: with_new_items(member, audience, similar) for name, member in members.items()}
        if expert is not None:
            known = members[expert].answers(audience)[:, None] & is_new[None, :]
            scores = {name: np.where(known, scores[expert], block) for name, block in scores.items()}
        scores = {name: block * members[name].answers(audience)[:, None] for name, block in scores.items()}
        chosen = np.zeros((len(numbers), len(is_new)), dtype=bool)
        for block in scores.values():
            # Known and new items each for themselves: how new ones stand to the others is what is still to be learned.
            for others in (is_new, ~is_new):
                if not others.all():
                    best, _ = best_of(np.where(others, -np.inf, block), min(count, block.shape[1]), exclude)
                    row = np.repeat(np.arange(len(numbers)), (best >= 0).sum(axis=1))
                    chosen[row, best[best >= 0]] = True
        # The chosen come first, in the order of the catalogue, so that ties go the same way as in a list.
        order = np.argsort(~chosen, axis=1, kind="stable")[:, :width]
        relevant = window.relevant[numbers].toarray()[:, : len(is_new)] > 0
        for name in members:
            rows[name].append(np.take_along_axis(scores[name], order, axis=1).astype(np.float32))
        rows["relevant"].append(np.take_along_axis(relevant, order, axis=1))
        rows["allowed"].append(np.take_along_axis(chosen, order, axis=1))
        rows[NEW_ITEMS].append(is_new[order])
        rows["ideal"].append(np.diff(window.relevant[numbers].indptr))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _ascent(table: dict[str, np.ndarray], k: int) -> dict[str, float]:
    """Change one weight at a time to the value of ``GRID`` with the highest nDCG, from the best member alone."""
    relevant, allowed, is_new, ideal_items = (table.pop(name) for name in ("relevant", "allowed", NEW_ITEMS, "ideal"))

    def quality(total: np.ndarray) -> float:
        total = np.where(allowed, total, -np.inf)
        best = np.argpartition(-total, min(k, total.shape[1]) - 1, axis=1)[:, :k]
        value = np.take_along_axis(total, best, axis=1)
        best = np.take_along_axis(best, np.lexsort((best, -value), axis=1), axis=1)
        hits = np.take_along_axis(relevant & allowed, best, axis=1)
        return float(ndcg(hits, ideal_items, k).mean())

    alone = {name: quality(scores) for name, scores in table.items()}
    order = sorted(table, key=lambda name: -alone[name])
    weights = {name: float(name == order[0]) for name in table}
    new_items = 1.0

    def total(without: str | None = None) -> np.ndarray:
        kept = [(name, weight) for name, weight in weights.items() if weight and name != without]
        return sum((np.float32(weight) * table[name] for name, weight in kept), np.zeros_like(table[order[0]]))

    reached = quality(total())
    for _ in range(ROUNDS):
        before = reached
        for name in order:
            rest, scale = total(name), np.where(is_new, np.float32(new_items), np.float32(1))
            others = any(weight for other, weight in weights.items() if other != name)
            for value in GRID if others else GRID[1:]:  # one member at least keeps a weight
                if value != weights[name] and (found := quality((rest + np.float32(value) * table[name]) * scale)) > reached + 1e-6:
                    weights[name], reached = value, found
        if is_new.any():
            whole = total()
            for value in GRID[1:]:  # above 0, so that new items keep an order among themselves
                if value != new_items and (found := quality(np.where(is_new, np.float32(value) * whole, whole))) > reached + 1e-6:
                    new_items, reached = value, found
        if reached == before:
            break
    size = sum(weights.values())
    return {name: weight / size for name, weight in weights.items()} | {NEW_ITEMS: new_items}
