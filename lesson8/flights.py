import math
from itertools import combinations
from typing import NamedTuple
import torch
from torch import Tensor, nn

from lesson8.checks import check_finite, check_lengths, check_shape, check_whole
from lesson8.embeddings import Embedding
from lesson8.tabular import TabularModel

def products(
    rows: list,  # c tensors of one shape, e.g. (n, d): d numbers from each of c columns for n rows of a table
    order: int = 2,  # columns in the longest product: 1 for none, 2 for pairs, 3 for triples as well, up to c
) -> dict:  # combination of columns, e.g. (0,), (1,), (0, 1) -> tensor of that shape
    "The rows and their products, number by number, for all combinations of up to `order` different columns."
    made, columns = {(k,): row for k, row in enumerate(rows)}, range(len(rows))
    for n in range(2, check_whole('order', order, 1, max(len(rows), 1)) + 1):
        for pick in combinations(columns, n): made[pick] = made[pick[:-1]]*made[pick[-1:]]
    return made

class _ProductForward(nn.Module):
    "How a batch goes through `ProductNet`."
    def forward(
        self,
        x_cat: Tensor,  # (n, number of categorical columns) row numbers
        x_cont: Tensor | None = None,  # (n, n_cont) numbers; None where there is no continuous column
    ) -> Tensor:  # (n, out_sz)
        "The predictions for n rows. ValueError for another number of columns."
        check_shape('x_cat', x_cat, 'n', len(self.embeds), hint='a row number for each category')
        rows = [emb(x_cat[:, k]) for k, emb in enumerate(self.embeds)]
        parts = list(products(rows, self.order).values())
        if self.n_cont: parts.append(_amounts(x_cont, self.n_cont))
        return self.net(None, torch.cat(parts, 1))

def _amounts(x_cont, n_cont):
    "The continuous columns, of which there must be `n_cont`."
    if x_cont is None: raise ValueError(f'x_cont is missing: this model has {n_cont} continuous columns')
    return check_shape('x_cont', x_cont, 'n', n_cont, hint='a number for each continuous column')

def _one_length(emb_szs):
    "The length that the rows of all embeddings share."
    lengths = {d for _, d in emb_szs}
    if len(lengths) == 1: return lengths.pop()
    raise ValueError(f'the rows have lengths {sorted(lengths)}: only rows of one length can be multiplied'
                     if lengths else 'emb_szs is empty: there is no categorical column to multiply')

class ProductNet(_ProductForward):
    """A `TabularModel` that is given, beside the embeddings of the columns, their products.

    Pairs are those of a factorization machine (Rendle 2010), each kept instead of added up, as in
    product-based nets (Qu et al. 2016). Called like `TabularModel`."""
    def __init__(
        self,
        emb_szs: list,  # (number of rows, length of a row) for each categorical column, all of one length
        n_cont: int,  # number of continuous columns, 0 or more; they enter no product
        out_sz: int,  # numbers to predict, 1 or more
        layers: list,  # units of each hidden block
        order: int = 2,  # columns in the longest product: 1 for none, 2 for pairs, 3 for triples as well
        ps: float | list | None = None,  # dropout after each block, or one probability for each
    ):
        super().__init__()
        d, c = _one_length(emb_szs), len(emb_szs)
        self.order, self.n_cont = check_whole('order', order, 1, c), check_whole('n_cont', n_cont, 0)
        self.embeds = nn.ModuleList(Embedding(n, d) for n, _ in emb_szs)
        n_in = d*sum(math.comb(c, k) for k in range(1, order + 1)) + n_cont
        self.net = TabularModel([], n_in, out_sz, layers, ps, bn_cont=False)

def great_circle(
    lat: Tensor,  # (n,) degrees north
    lon: Tensor,  # (n,) degrees east
) -> Tensor:  # (n, n) float64, miles
    "The distances between all pairs of n places, along the surface of a globe of radius 3,959 miles."
    check_lengths(lat=lat, lon=lon)
    lat, lon = (torch.deg2rad(check_finite(name, torch.as_tensor(t, dtype=torch.float64)))
                for name, t in dict(lat=lat, lon=lon).items())
    half = lambda angle: ((angle[:, None] - angle)/2).sin().square()
    return 2*3959*(half(lat) + lat.cos()[:, None]*lat.cos()*half(lon)).clamp(max=1).sqrt().asin()

class MantelTest(NamedTuple):
    "What `mantel` found."
    r: float  # correlation of the distances of all pairs, from -1 to 1
    p: float  # share of orders, the real one among them, in which it is at least as high

def mantel(
    a: Tensor,  # (n, n) distances between n things; their order is shuffled
    b: Tensor,  # (n, n) other distances between them
    given: Tensor | None = None,  # (n, n) distances to hold fixed: the partial test; None: the plain one
    permutations: int = 999,  # random orders
    seed: int = 0,  # of the orders
) -> MantelTest:
    """Are things that are far apart in `a` far apart in `b`, too, and beyond what `given` explains?

    Mantel 1967 and Smouse, Long & Sokal 1986, one-sided, with the rows and columns of `a` shuffled. Where
    both distances vary smoothly over the same space p comes out too low (Guillot & Rousset 2013)."""
    matrices = dict(a=a, b=b) if given is None else dict(a=a, b=b, given=given)
    a, *others = _standardised(matrices)
    found = _correlations(a, others, check_whole('permutations', permutations), check_whole('seed', seed, 0))
    r = found[:, 0]
    if given is not None:
        i, j = torch.triu_indices(*a.shape, 1)
        fixed = (others[0]*others[1])[i, j].mean()
        if max(found[0, 1].abs(), fixed.abs()) > 1 - 1e-9:
            raise ValueError('`given` explains a or b entirely: there is nothing left to correlate')
        r = (r - found[:, 1]*fixed)/((1 - found[:, 1]**2)*(1 - fixed**2)).sqrt()
    return MantelTest(r[0].item(), (r >= r[0] - 1e-12).double().mean().item())

def _standardised(matrices):
    "Each matrix in float64, its distances with mean 0 and mean square 1."
    n = check_whole('the number of things', check_lengths(**matrices), 4)
    for name, t in matrices.items():
        t = check_finite(name, torch.as_tensor(t, dtype=torch.float64))
        check_shape(name, t, n, n, hint='a distance for each pair')
        if not torch.allclose(t, t.T): raise ValueError(f'{name} is not symmetric')
        off = t[torch.ones(n, n).triu(1).bool()]
        if off.std() <= 1e-12*off.abs().max():
            raise ValueError(f'all distances in {name} are {off[0]:g}: there is nothing to correlate')
        yield (t - off.mean())/off.std(correction=0)

def _correlations(a, others, permutations, seed):
    "Of `a`, in its own order (first row) and in random ones, with each of `others`."
    i, j = torch.triu_indices(*a.shape, 1)
    columns = torch.stack([t[i, j] for t in others], 1)/len(i)
    gen = torch.Generator().manual_seed(seed)
    orders = [torch.arange(len(a))] + [torch.randperm(len(a), generator=gen) for _ in range(permutations)]
    return torch.stack([a[o[i], o[j]] @ columns for o in orders])
