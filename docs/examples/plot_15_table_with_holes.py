"""
A table with missing values: impute, sample, score
==================================================

An RBM learns a table of numbers, a category and a boolean in which a fifth of the cells are missing. The fitted RBM
imputes the missing cells, samples new rows and finds the rows whose columns disagree.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from deepbelief import RBM
from deepbelief.evaluation import find_outliers

rng = np.random.default_rng(0)
n = 500
kind = rng.choice(["flat", "house", "room"], n, p=[0.5, 0.3, 0.2])
area = np.select([kind == "flat", kind == "house"], [70, 140], 18) * rng.lognormal(0, 0.15, n)
garden = (kind == "house") & (rng.random(n) < 0.8)
rent = area * 11 * rng.lognormal(0, 0.1, n) + 150 * garden
whole = pd.DataFrame({"kind": kind, "area": area.round(1), "garden": garden, "rent": rent.round()})

missing = rng.random(whole.shape) < 0.2
table = whole.astype(object).mask(missing).infer_objects()

rbm = RBM(32, n_iter=200, random_state=0).fit(table)
print(rbm.schema_)

filled = rbm.impute(table, random_state=0)
holes = table["rent"].isna()
mean = np.sqrt(np.mean((table["rent"].mean() - whole["rent"][holes]) ** 2))
ours = np.sqrt(np.mean((filled["rent"] - whole["rent"])[holes] ** 2))
right = (filled["kind"] == whole["kind"])[table["kind"].isna()].mean()
print(f"rent: RMSE {ours:.0f}, of the column's mean {mean:.0f}; kind: {100 * right:.0f} % right")

# %%
# A flat with the rent of a house, and a room with a garden.
odd = pd.DataFrame(
    {"kind": ["flat", "room"], "area": [65.0, 17.0], "garden": [False, True], "rent": [1700.0, 190.0]}
)  # fmt: skip
found = find_outliers(rbm, pd.concat([whole.head(100), odd], ignore_index=True))
for i in found.worst(2):
    column, nats = found.reason(int(i))
    print(f"row {i}: {column} ({nats:.1f} nats)")

# %%
# Imputed values, and rows sampled from the model.
drawn = rbm.sample(n, n_steps=200, random_state=0)
colours = {"flat": "tab:blue", "house": "tab:orange", "room": "tab:green"}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4))
axes[0].scatter(whole["rent"][holes], filled["rent"][holes], s=8, c=whole["kind"][holes].map(colours))
axes[0].axline((0, 0), slope=1, color="gray", lw=0.8)
axes[0].set(xlabel="true rent", ylabel="imputed rent", title="missing rents")
for ax, rows, title in ((axes[1], whole, "complete table"), (axes[2], drawn, "sampled rows")):
    ax.scatter(rows["area"], rows["rent"], s=6, c=rows["kind"].map(colours))
    ax.set(xlabel="area", ylabel="rent", title=title, xlim=(0, 230), ylim=(0, 3200))
fig.tight_layout()
