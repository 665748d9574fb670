"""
Annealed importance sampling and the exact value
================================================

With 12 hidden units the partition function can be computed exactly, so estimates of it can be checked. Annealed
importance sampling (AIS) is too low in expectation and its reverse too high; both approach the exact value as the
number of intermediate distributions grows. The bars are the intervals that the estimates report.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from deepbelief import RBM
from deepbelief.likelihood import ais_log_z, exact_log_z, reverse_ais_log_z

bits = (load_digits().data >= 8).astype(float)
rbm = RBM(12, gradient="pcd", n_iter=50, random_state=0).fit(bits)
exact = exact_log_z(rbm)
steps = [30, 100, 300, 1000, 3000]
forward = [ais_log_z(rbm, betas=n, n_runs=400, random_state=0) for n in steps]
reverse = [reverse_ais_log_z(rbm, betas=n, n_runs=400, random_state=0) for n in steps]

fig, ax = plt.subplots(figsize=(7, 4))
ax.axhline(exact, color="black", label="exact")
for estimates, name, shift in ((forward, "AIS", 0.96), (reverse, "reverse AIS", 1.04)):
    below = [e.log_z - e.low for e in estimates]
    above = [e.high - e.log_z for e in estimates]
    places = [n * shift for n in steps]
    ax.errorbar(places, [e.log_z for e in estimates], (below, above), marker="o", capsize=3, label=name)
ax.set(xscale="log", xlabel="intermediate distributions", ylabel="log Z")
ax.legend()
fig.tight_layout()
