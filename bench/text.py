"""Guessing the next word of nine books: what the embedding knows about endings, and how well the next word is guessed, over seeds 0-4 (text.net)
and 0-2 (the other rows).

    python bench/text.py                     everything, one thread, about 12 minutes on a quiet machine
    python bench/text.py --only ID ...       only rows whose ids start so, e.g. text.net.; the other rows of the file stay
    python bench/text.py --only ID --dry     printed, not written
    python bench/text.py --select            the search for the learning rate, printed

The first nine tenths of each book are read, the last tenth is guessed. Learning rate, and how many imaginary words the counts are mixed
with, were chosen on the last ninth of the part that is read (`--select`): the loss there, never the share of equal endings.
Rows: text.net (all that is read), text.net_1 (it looks at one word only), text.two_matrices (an output matrix of its own), text.shuffled
(the words that are read in random order), text.untrained, text.read_N (the first N% of what is read of each book; as many windows as
text.net sees, but each at most ten times), text.counts_N (no net: preceding and following words counted in the same N%), text.triples (no
net: what follows two words, mixed with what follows one, mixed with frequencies).
"""
import argparse, os, sys, time
from collections import Counter
from functools import cache, partial
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from torch import nn

from _record import row, save
from lesson8.batches import Batches
from lesson8.books import books
from lesson8.history import accuracy
from lesson8.steps import num_threads
from lesson8.text import NextWord, count_vectors, ending, label_share, pair_counts, tokenize, windows
from lesson8.training import fit, predict
from lesson8.vocab import Vocab

WORDS, RATE, PAIRS, TRIPLES = 2000, 1e-2, 300, 300
ENDINGS = ['', 'ing', 'ed', 'ly', 's']


class TwoMatrices(NextWord):
    "The same with an output matrix of its own."
    def __init__(self, n_words, n_factors=64, **kwargs):
        super().__init__(n_words, n_factors, **kwargs)
        self.out = nn.Linear(n_factors, n_words)

    def forward(self, x): return self.out(self.wanted(self.act(self.hidden(self.words(x).flatten(1)))))


@cache
def corpus():
    "The words of each book, the vocabulary of what is read, and the kind of each of its rows."
    texts = [tokenize(t) for t in books().values()]
    read = Counter(w for t in texts for w in t[:9*len(t)//10])
    vocab = Vocab([w for w, _ in read.most_common(WORDS)], unknown=True)
    return texts, vocab, torch.tensor([ENDINGS.index(ending(w)) for w in vocab.values])


def part(start, stop):
    "Row numbers of a stretch of each book, in thousandths, one book after the other."
    texts, vocab, _ = corpus()
    return vocab.encode([w for t in texts for w in t[start*len(t)//1000:stop*len(t)//1000]])


def known(ids, n=3):
    "Windows whose last word can be guessed."
    x, y = windows(ids, n)
    return x[y > 0], y[y > 0]


def train(ids, seed, make=NextWord, lr=RATE, n_context=3, epochs=1):
    "A trained net."
    x, y = known(ids, n_context)
    torch.manual_seed(seed)
    net = make(WORDS + 1, n_context=n_context)
    fit(net, Batches(x, y, 512), loss=F.cross_entropy, epochs=epochs, lr=lr, threads=1, progress=False)
    return net


def guessed(net, ids):
    "(share guessed right, cross-entropy)."
    x, y = known(ids, getattr(net, 'n_context', 3))
    out, y = predict(net, Batches(x, y, 4096, shuffle=False))
    return accuracy(out, y).item(), F.cross_entropy(out, y).item()


def share(net): return label_share(net.words.weight.detach(), corpus()[2])


def net_rows(id, seeds, **kwargs):
    "Train over seeds: endings, words guessed right, loss."
    ids, rest, start = part(0, 900), part(900, 1000), time.process_time()
    nets = [train(ids, seed, **kwargs) for seed in range(seeds)]
    seconds = (time.process_time() - start)/seeds
    right, loss = zip(*[guessed(net, rest) for net in nets])
    return [row(f'{id}.same_ending', [share(n) for n in nets], 'accuracy'), row(f'{id}.right', right, 'accuracy'),
            row(f'{id}.loss', loss, 'nats'), row(f'{id}.cpu_seconds', [seconds], 's')]


def shuffled(id, seeds):
    "The same words in random order."
    def one(seed):
        ids = part(0, 900)
        return share(train(ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))], seed))
    return [row(f'{id}.same_ending', [one(seed) for seed in range(seeds)], 'accuracy')]


def untrained(id, seeds):
    def one(seed):
        torch.manual_seed(seed)
        return share(NextWord(WORDS + 1))
    return [row(f'{id}.same_ending', [one(seed) for seed in range(seeds)], 'accuracy')]


def read_part(percent, seed):
    "Share of equal endings of a net that reads `percent` of what there is."
    return share(train(part(0, 9*percent), seed, epochs=min(10, 100//percent)))


def count_part(percent, seed):
    "The same of vectors that are counted."
    ids = part(0, 9*percent)
    counts = torch.cat([pair_counts(ids, WORDS + 1, (d,)) for d in (-1, 1)], 1)
    counts[0] = 0; counts[:, ::WORDS + 1] = 0                    # row 0 is no word
    torch.manual_seed(seed)
    return label_share(count_vectors(counts), corpus()[2])


def count_triples(ids, rest, extra):
    "(share guessed right, cross-entropy) of counts of three words; `extra` of pairs' shares are mixed in, and PAIRS of frequencies into those."
    n, pairs = WORDS + 1, pair_counts(ids, WORDS + 1)
    pairs[:, 0] = 0
    pairs = (pairs + PAIRS*pairs.sum(0)/pairs.sum())/(pairs.sum(1, keepdim=True) + PAIRS)
    ab, c = ids[:-2]*n + ids[1:-1], ids[2:]
    there, at = ab[c > 0].unique(return_inverse=True)
    counts = coo_matrix((np.ones(len(at), 'float32'), (at, c[c > 0])), (len(there), n)).tocsr()
    x, y = known(rest)
    ab = x[:, 1]*n + x[:, 2]
    at = torch.searchsorted(there, ab).clamp(max=len(there) - 1)
    right, loss = 0, 0.
    for k in range(0, len(y), 4096):
        rows, answer, prev = at[k:k + 4096], y[k:k + 4096], pairs[x[k:k + 4096, 2]]
        seen = torch.from_numpy(counts[rows.numpy()].toarray())*(there[rows] == ab[k:k + 4096])[:, None]
        p = (seen + extra*prev)/(seen.sum(1, keepdim=True) + extra)
        right += (p.argmax(1) == answer).sum().item()
        loss -= p.gather(1, answer[:, None]).log().sum().item()
    return right/len(y), loss/len(y)


def triples(id, seeds):
    "Nothing is random here."
    right, loss = count_triples(part(0, 900), part(900, 1000), TRIPLES)
    return [row(f'{id}.right', [right], 'accuracy'), row(f'{id}.loss', [loss], 'nats')]


def over(f, id, seeds): return [row(f'{id}.same_ending', [f(seed) for seed in range(seeds)], 'accuracy')]


PARTS = {'text.net': net_rows, 'text.net_1': partial(net_rows, n_context=1), 'text.two_matrices': partial(net_rows, make=TwoMatrices),
         'text.shuffled': shuffled, 'text.untrained': untrained, 'text.triples': triples,
         **{f'text.read_{n}': partial(over, partial(read_part, n)) for n in (2, 10, 30)},
         **{f'text.counts_{n}': partial(over, partial(count_part, n)) for n in (2, 10, 30, 100)}}
CHEAP = {'text.read_2.same_ending': partial(read_part, 2)}  # about four seconds


def select(rates=(3e-3, 1e-2, 3e-2)):
    "The loss on the last ninth of what is read, for learning rates and for imaginary words."
    ids, held = part(0, 800), part(800, 900)
    for lr in rates: print(f'lr {lr}: {guessed(train(ids, 0, lr=lr), held)[1]:.4f}', flush=True)
    counts = pair_counts(ids, WORDS + 1); counts[:, 0] = 0
    x, y = known(held, 1)
    for extra in (10, 30, 100, 300, 1000):
        p = (counts + extra*counts.sum(0)/counts.sum())/(counts.sum(1, keepdim=True) + extra)
        print(f'pairs, {extra} imaginary words: {-p[x[:, 0], y].log().mean():.4f}', flush=True)
    for extra in (30, 100, 300, 1000):
        print(f'triples, {extra} imaginary words: {count_triples(ids, held, extra)[1]:.4f}', flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--only', nargs='*', default=['text.'], help='beginnings of ids')
    p.add_argument('--dry', action='store_true', help='write nothing')
    p.add_argument('--select', action='store_true', help='only the search for the settings')
    a = p.parse_args()
    torch.set_num_threads(1)
    if a.select: return select()
    todo = {id: f for id, f in PARTS.items() if (id + '.').startswith(tuple(a.only))}
    if not todo: raise SystemExit(f"no row starts with {a.only}; there are: {', '.join(PARTS)}")
    rows = []
    for id, f in todo.items():
        rows += f(id, 5 if id == 'text.net' else 3)
        print(f"{id}: {', '.join(format(r['value'], '.4g') for r in rows if r['id'].startswith(id + '.'))}", flush=True)
    if not a.dry: save('text', rows, keep=len(todo) < len(PARTS))


if __name__ == '__main__': main()
