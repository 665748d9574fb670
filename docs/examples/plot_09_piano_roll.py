"""
Sample a sequence
=================

A recurrent RBM learns a noisy, repeating pattern of chords and continues it.
"""

import matplotlib.pyplot as plt
import numpy as np

from deepbelief import RecurrentRBM

rng = np.random.default_rng(0)
chords = np.zeros((8, 24))
for i, root in enumerate((0, 5, 7, 0, 9, 5, 7, 0)):
    chords[i, [root, root + 4, root + 7]] = 1
song = np.tile(np.repeat(chords, 2, axis=0), (40, 1))
song = np.abs(song - (rng.random(song.shape) < 0.01))

rnn = RecurrentRBM(40, 30, n_iter=40, truncation=40, random_state=0).fit(song)
continued = rnn.sample(48, prefix=song[:32], random_state=0)

fig, axes = plt.subplots(2, 1, figsize=(9, 4), sharex=True)
for ax, roll, title in zip(
    axes, (song[:48], continued[:48]), ("training data", "sampled after 32 frames"), strict=True
):
    ax.imshow(np.asarray(roll).T, aspect="auto", origin="lower", cmap="gray_r", interpolation="nearest")
    ax.set(title=title, ylabel="note")
axes[1].set_xlabel("frame")
fig.tight_layout()
