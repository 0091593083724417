"""Draw nbs/social.png, shown with a shared link: a table that is almost empty, two thin ones that fill it.

    python tools/social.py
"""
from pathlib import Path

import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

OUT = Path(__file__).resolve().parent.parent/'nbs/social.png'


def main(n=15, step=24, left=700, top=112):
    "Draw it with `n` people and films, squares `step` pixels apart."
    fig = plt.figure(figsize=(12, 6.3), dpi=100, facecolor='#0f2233')
    ax = fig.add_axes([0, 0, 1, 1])
    ax.set(xlim=(0, 1200), ylim=(0, 630))
    ax.axis('off')
    rng, colour = np.random.default_rng(3), plt.get_cmap('viridis')
    users, items = rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
    scores = users @ items.T
    scores = (scores - scores.min())/np.ptp(scores)
    known = rng.random((n, n)) < .22
    def square(x, y, value, alpha=1):
        ax.add_patch(plt.Rectangle((x, y), step - 3, step - 3, color=colour(value), alpha=alpha, lw=0))
    for i in range(n):
        for j in range(n):
            square(left + j*step, top + i*step, .15 + .8*scores[i, j], 1 if known[i, j] else .22)
        for k in range(2):
            square(left - 34 - k*step, top + i*step, .5 + .2*users[i, k])
            square(left + i*step, top + n*step + 12 + k*step, .5 + .2*items[i, k])
    ax.text(70, 400, 'lesson8', color='white', fontsize=64, fontweight='bold', va='center')
    about = 'Collaborative filtering,\nembeddings, tabular models\nand convolutions, from scratch'
    ax.text(74, 290, about, color='#c9d6e2', fontsize=21, va='center', linespacing=1.5)
    fig.savefig(OUT)
    Image.open(OUT).convert('RGB').quantize(64, dither=0).save(OUT, optimize=True)


if __name__ == '__main__': main()
