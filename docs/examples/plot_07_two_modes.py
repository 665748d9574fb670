"""
Two modes: plain chains and parallel tempering
==============================================

Rows are noisy copies of two patterns that differ in 14 of 16 bits. The Gibbs chains of CD and PCD stay in the mode
where they start, so the model assigns wrong weights to the modes. Parallel tempering exchanges states between
temperatures. All likelihoods in this example are exact.
"""

import matplotlib.pyplot as plt
import numpy as np

from deepbelief import RBM

rng = np.random.default_rng(0)
first = np.r_[np.ones(7), np.zeros(9)]
second = np.r_[np.zeros(7), np.ones(7), np.zeros(2)]
which = rng.random(2000) < 0.3
X = np.where(which[:, None], first, second)
X = np.abs(X - (rng.random(X.shape) < 0.02))

machines = {
    gradient: RBM(4, gradient=gradient, n_chains=100, n_iter=60, batch_size=100, random_state=0).fit(X)
    for gradient in ("cd", "pcd", "pt")
}
states = ((np.arange(2**16)[:, None] >> np.arange(16)) & 1).astype(float)
nearer = np.abs(states - first).sum(axis=1) < np.abs(states - second).sum(axis=1)

fig, ax = plt.subplots(figsize=(6, 3.2))
shares = []
for rbm in machines.values():
    p = np.exp(-rbm.free_energy(states) + rbm.free_energy(states).min())
    shares.append(p[nearer].sum() / p.sum())
bars = ax.bar(list(machines), shares)
ax.bar_label(bars, fmt="%.2f", padding=10)
ax.axhline(which.mean(), color="black", ls="--", label="share in the data")
ax.set(ylabel="model's weight of the first pattern", ylim=(0, 1.1))
ax.legend()
fig.tight_layout()
for name, rbm in machines.items():
    print(f"{name:4} {rbm.log_likelihood(X).mean:.2f} nats per row")
