"""
Ratings: predict what users have not rated
==========================================

An RBM learns 300 users' ratings of 100 items, of which 80 % are absent, and predicts held-out ones. It is compared with
each item's mean and with a model of user and item biases. Users who were not in training need no further fit.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import coo_array

from deepbelief import RBM, Ratings

rng = np.random.default_rng(0)
taste = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 100)) / 5**0.5
taste += 0.5 * rng.normal(size=100) + 0.3 * rng.normal(size=(400, 1)) + 0.3 * rng.normal(size=(400, 100))
stars = 1.0 + np.searchsorted(np.quantile(taste, [0.2, 0.4, 0.6, 0.8]), taste)
seen = rng.random(stars.shape) < 0.2
users, items = np.nonzero(seen)
known = Ratings(coo_array((stars[users, items], (users, items)), shape=stars.shape))
held_out = Ratings(np.where(seen, np.nan, stars))
old, new = slice(0, 300), slice(300, None)

rbm = RBM(64, n_iter=200, weight_decay=3e-3, random_state=0).fit(known.users(old))

# %%
# The models to compare with.
train = known.users(old).array()
there, mean = ~np.isnan(train), np.nanmean(train)
user, item = np.zeros(300), np.zeros(100)
for _ in range(20):
    item = (np.where(there, train - mean - user[:, None], 0).sum(axis=0)) / (there.sum(axis=0) + 1)
    user = (np.where(there, train - mean - item, 0).sum(axis=1)) / (there.sum(axis=1) + 1)
later = known.users(new).array()
of_new = np.nansum(later - mean - item, axis=1) / ((~np.isnan(later)).sum(axis=1) + 1)

errors = {}
for name, part, biases in (("known users", old, user), ("new users", new, of_new)):
    judge, predicted = held_out.users(part), rbm.impute(known.users(part), random_state=0)
    errors[name] = [
        judge.error(np.broadcast_to(np.nanmean(train, axis=0), judge.shape)),
        judge.error(mean + biases[:, None] + item),
        judge.error(predicted),
    ]
    print(name, [round(error, 3) for error in errors[name]])

# %%
# Root of the mean squared error of held-out ratings.
fig, ax = plt.subplots(figsize=(6, 3.2))
places = np.arange(3)
for shift, (name, found) in zip((-0.2, 0.2), errors.items(), strict=True):
    ax.bar(places + shift, found, 0.38, label=name)
ax.set_xticks(places, ["item mean", "user + item bias", "RBM"])
ax.set(ylabel="RMSE", ylim=(0.8, 1.4))
ax.legend(loc="upper right")
fig.tight_layout()
