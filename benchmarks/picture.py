"""The README's picture: first-layer receptive fields, and test digits reconstructed from 30-dimensional codes.

    python benchmarks/picture.py

Writes picture.png beside itself; needs the extra `plot`.
"""

from common import HERE, mnist
from matplotlib.figure import Figure

from deepbelief import RBM, DeepAutoencoder
from deepbelief.plotting import plot_receptive_fields, plot_reconstructions


def main():
    X, _ = mnist()
    X_test, _ = mnist("test")
    autoencoder = DeepAutoencoder((500, 250, 30), rbm=RBM(n_iter=10), max_iter=15, verbose=1, random_state=0).fit(X)
    error = autoencoder.reconstruction_error(X_test).mean()
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.4))
    plot_receptive_fields(autoencoder, left, n=49)
    left.set_title("Weights of 49 of 500 units", fontsize=9)
    plot_reconstructions(autoencoder, X_test, right, n=12)
    right.set_title(f"Test digits, and from their codes of 30 numbers (squared error {error:.2f})", fontsize=9)
    figure.savefig(HERE / "picture.png", dpi=110)


if __name__ == "__main__":
    main()
