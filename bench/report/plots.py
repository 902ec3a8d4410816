"""Plots as SVG: the same figures give the same bytes."""
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

matplotlib.rcParams["svg.hashsalt"] = "dsa"


def save(figure, path, rect=(0, 0, 1, 1)):
    """rect: the part of the figure that its axes may take."""
    figure.tight_layout(rect=rect)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
