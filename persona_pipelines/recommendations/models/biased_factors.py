"""A biased matrix factorisation of explicit ratings, averaged over its posterior."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.models.factors import FactorModel
from persona_pipelines.recommendations.models.learned import RatingModel
from persona_pipelines.recommendations.models.ratings import Base, base
from persona_pipelines.settings.recommendations import BiasedFactorsSettings

PRIOR_STRENGTH = 2.0


class BiasedFactorModel(FactorModel, RatingModel):
    """A ``FactorModel`` of rating deviations: factors of all kept draws side by side, biases of users in ``user_biases``."""

    kind = "biased_factors"

    def predicted_ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        lowest, highest = self.state["range"]
        known_user, known_item = users >= 0, items >= 0
        result = np.full(len(users), float(self.state["mean"]))
        result[known_user] += self.state["user_biases"][users[known_user]]
        result[known_item] += self.state["item_biases"][items[known_item]]
        both = known_user & known_item
        result[both] += np.einsum("nd,nd->n", self.state["user_factors"][users[both]], self.state["item_factors"][items[both]])
        return np.clip(result, lowest, highest)


class BiasedFactors:
    """Rating = mean + user bias + item bias + p.q (Koren 2008), drawn by Gibbs sampling as in Salakhutdinov and Mnih 2008,
    "Bayesian Probabilistic Matrix Factorization using MCMC": the mean over draws needs no regularisation to be tuned.

    Cost: iterations * (ratings * factors squared + (users + items) * factors cubed); memory of (users + items) * factors for each
    of the ``draws`` that are kept.
    """

    def __init__(self, settings: BiasedFactorsSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.name = settings.name

    def fit(self, interactions: Interactions) -> BiasedFactorModel:
        chosen, generator = self.settings, np.random.default_rng(self.seed)
        found: Base = base(interactions)
        by_user = sp.csr_matrix(interactions.ratings, dtype=np.float64)
        by_item = sp.csr_matrix(by_user.T)
        sides = [_Side(by_user, chosen.factors, generator), _Side(by_item, chosen.factors, generator)]
        sides[0].biases, sides[1].biases = found.users.copy(), found.items.copy()
        precision = 1.0
        kept: list[tuple[np.ndarray, ...]] = []
        errors: list[float] = []
        every = max(1, (chosen.iterations - chosen.burn_in) // chosen.draws)
        for iteration in range(chosen.iterations):
            for mine, other in (sides, sides[::-1]):
                mine.draw(other, found.mean, precision, generator)
            left = sides[0].residuals(sides[1], found.mean)
            squares = float((left**2).sum())
            errors.append((squares / len(left)) ** 0.5)
            precision = generator.gamma(1.0 + len(left) / 2) / (1.0 + squares / 2)
            if iteration >= chosen.burn_in and (chosen.iterations - 1 - iteration) % every == 0:
                kept.append(tuple(array.copy() for side in sides for array in (side.factors, side.biases)))
        user_factors, user_biases, item_factors, item_biases = (list(arrays) for arrays in zip(*kept, strict=True))
        state = {
            "user_factors": (np.hstack(user_factors) / len(kept)).astype(np.float32),
            "item_factors": np.hstack(item_factors).astype(np.float32),
            "user_biases": np.mean(user_biases, axis=0),
            "item_biases": np.mean(item_biases, axis=0),
            "mean": np.array(found.mean),
            "range": np.array([found.lowest, found.highest]),
        }
        return BiasedFactorModel(
            self.name, interactions.users, interactions.items, interactions.digest, state, curves={"training_rmse": errors}
        )


class _Side:
    """The factors and biases of users, or of items: ``ratings`` has them as rows."""

    def __init__(self, ratings: sp.csr_matrix, factors: int, generator: np.random.Generator) -> None:
        self.ratings = ratings
        self.rows = np.repeat(np.arange(ratings.shape[0]), np.diff(ratings.indptr))
        self.counts = np.diff(ratings.indptr)
        self.factors = generator.normal(0, 0.1, (ratings.shape[0], factors))
        self.biases = np.zeros(ratings.shape[0])

    def residuals(self, other: _Side, mean: float, *, factors: bool = True, biases: bool = True) -> np.ndarray:
        """Ratings less what is predicted of them, in the order of ``ratings``; without this side's own parts where asked."""
        columns = self.ratings.indices
        left = self.ratings.data - mean - other.biases[columns]
        if biases:
            left = left - self.biases[self.rows]
        if factors:
            left = left - np.einsum("nd,nd->n", self.factors[self.rows], other.factors[columns])
        return left

    def draw(self, other: _Side, mean: float, precision: float, generator: np.random.Generator) -> None:
        """Draw the hyperparameters, then the biases, then the factors, each given all else."""
        from scipy.stats import wishart

        count, size = self.factors.shape
        # Normal-Wishart hyperprior with mean 0, strength 2 and the identity, as in the paper.
        average = self.factors.mean(axis=0)
        centred = self.factors - average
        scatter = np.eye(size) + centred.T @ centred + PRIOR_STRENGTH * count / (PRIOR_STRENGTH + count) * np.outer(average, average)
        scale = np.linalg.inv(scatter)
        drawn = wishart.rvs(size + count, (scale + scale.T) / 2, random_state=generator)
        shape = np.atleast_2d(drawn)
        centre = count * average / (PRIOR_STRENGTH + count)
        centre = centre + np.linalg.solve(np.linalg.cholesky((PRIOR_STRENGTH + count) * shape).T, generator.normal(size=size))
        # Biases: normal around 0, their precision drawn from a gamma.
        spread = generator.gamma(1.0 + count / 2) / (1.0 + (self.biases**2).sum() / 2)
        left = np.bincount(self.rows, self.residuals(other, mean, biases=False), count)
        bias_precision = spread + precision * self.counts
        self.biases = precision * left / bias_precision + generator.normal(size=count) / np.sqrt(bias_precision)
        # Factors: one small system a row, all at once.
        left_over = sp.csr_matrix(
            (self.residuals(other, mean, factors=False), self.ratings.indices, self.ratings.indptr), self.ratings.shape
        )
        has = sp.csr_matrix((np.ones(self.ratings.nnz), self.ratings.indices, self.ratings.indptr), self.ratings.shape)
        squares = (other.factors[:, :, None] * other.factors[:, None, :]).reshape(len(other.factors), -1)
        systems = shape[None] + precision * (has @ squares).reshape(count, size, size)
        right = (shape @ centre)[None, :] + precision * (left_over @ other.factors)
        roots = np.linalg.cholesky(systems)
        means = np.linalg.solve(systems, right[:, :, None])[:, :, 0]
        noise = np.linalg.solve(roots.transpose(0, 2, 1), generator.normal(size=(count, size, 1)))[:, :, 0]
        self.factors = means + noise
