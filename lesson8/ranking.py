import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import check_number, check_rows, check_shape, check_whole

def top_n(
    scores: Tensor,  # (n_users, n_items), larger is better
    seen: Tensor,  # (n_users, n_items) bool: what a list must not show
    n: int = 10,  # length of the lists
) -> Tensor:  # (n_users, n) item rows, best first
    "The n best unseen items of each user; ValueError if a user has fewer than n unseen items left."
    n = check_whole('n', n, most=scores.shape[1])
    check_shape('seen', seen, *scores.shape, hint='one entry for each score')
    left = (~seen).sum(1)
    if len(left) and left.min() < n:
        raise ValueError(f'user row {left.argmin().item()} has {left.min().item()} unseen items: '
                         f'no list of {n} can be made')
    return scores.masked_fill(seen, -torch.inf).topk(n, dim=1).indices

@torch.no_grad()
def all_scores(
    model: nn.Module,  # `DotProductBias`, or any model with its four tables
) -> Tensor:  # (n_users, n_items) before the range, which doesn't change any order
    "The score of every user for every item."
    pairs = model.user_factors.weight @ model.item_factors.weight.T
    return pairs + model.user_bias.weight + model.item_bias.weight.T

def _checked(hits, relevant):
    check_shape('hits', hits, 'users', 'n', hint='a row for each list')
    check_shape('relevant', relevant, len(hits), hint='how many relevant items each user has')
    if len(relevant) and (relevant < hits.sum(1).clamp(min=1)).any():
        raise ValueError('relevant must be 1 or more and no smaller than the hits: leave other users out')
    return hits.float(), relevant

def recall(
    hits: Tensor,  # (users, n) whether the item at each place of a list is relevant
    relevant: Tensor,  # (users,) how many relevant items there are for each user, 1 or more
) -> Tensor:  # (users,) 0 to 1
    "Hits over the most that the list could have had, min(n, relevant)."
    hits, relevant = _checked(hits, relevant)
    return hits.sum(1)/relevant.clamp(max=hits.shape[1])

def average_precision(
    hits: Tensor,  # (users, n) as for `recall`
    relevant: Tensor,  # (users,)
) -> Tensor:  # (users,) 0 to 1; its mean over users is MAP
    "Share of hits down to each hit, summed, over min(n, relevant)."
    hits, relevant = _checked(hits, relevant)
    precision = hits.cumsum(1)/torch.arange(1, hits.shape[1] + 1, device=hits.device)
    return (precision*hits).sum(1)/relevant.clamp(max=hits.shape[1])

def ndcg(
    hits: Tensor,  # (users, n) as for `recall`
    relevant: Tensor,  # (users,)
) -> Tensor:  # (users,) 0 to 1
    "Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002) where an item is relevant or isn't."
    hits, relevant = _checked(hits, relevant)
    discount = 1/torch.arange(2, hits.shape[1] + 2, device=hits.device).log2()
    best = discount.cumsum(0)[relevant.clamp(max=hits.shape[1]) - 1]
    return (hits*discount).sum(1)/best

def latest_split(
    users: Tensor,  # (n,) user row of each rating
    when: Tensor,  # (n,) its time
    share: float = .2,  # of each user's ratings, the latest, rounded
) -> tuple:  # (train_idx, valid_idx) int64, together every number from 0 to n-1 once
    "Each user's latest ratings held back; ratings of one time stay in the order they stand in."
    check_number('share', share, above=0, below=1)
    check_shape('when', when, len(users), hint='a time for each rating')
    order = when.argsort(stable=True)
    order = order[users[order].argsort(stable=True)]
    count = torch.bincount(users)
    place = torch.arange(len(users), device=users.device) - (count.cumsum(0) - count)[users[order]]
    late = place >= (count - (share*count).round())[users[order]]
    return order[~late], order[late]

class NegativeBatches:
    """Batches of things people did, and for each `negatives` drawn items with the same user: x, y of 1 or 0.

    An epoch has every positive once, in random order. Negatives are uniform over all items, so now and then
    one of them is a positive too."""
    def __init__(
        self,
        x: Tensor,  # (n, 2) user row and item row of what people did
        n_items: int,  # how many items to draw from
        negatives: int = 10,  # drawn for each positive
        bs: int = 512,  # positives in a batch; it holds `negatives` + 1 times as many pairs
        seed: int = 0,  # of the order and the draws
    ):
        self.x, self.n_items = check_shape('x', x, 'n', 2), check_whole('n_items', n_items)
        check_rows('item', x[:, 1], n_items)
        self.negatives, self.bs = check_whole('negatives', negatives), check_whole('bs', bs)
        self.generator = torch.Generator().manual_seed(check_whole('seed', seed, 0))

    def __len__(self): return -(-len(self.x)//self.bs)

    def __iter__(self):
        for rows in torch.randperm(len(self.x), generator=self.generator).split(self.bs):
            did = self.x[rows.to(self.x.device)]
            user = did[:, 0].repeat(self.negatives)
            drawn = torch.randint(self.n_items, user.shape, generator=self.generator).to(user)
            y = torch.cat([torch.ones(len(did)), torch.zeros(len(user))]).to(user.device)
            yield torch.cat([did, torch.stack([user, drawn], 1)]), y

def bpr_loss(
    pred: Tensor,  # (b + b*negatives,) scores of a batch of `NegativeBatches`
    y: Tensor,  # which of them are positives, the first b
) -> Tensor:  # a number
    "Bayesian personalised ranking (Rendle et al. 2009): each positive should score above its own negatives."
    did = pred[y > 0]
    return -F.logsigmoid(did - pred[y == 0].view(-1, len(did))).mean()

class EASE:
    "Item-item weights in closed form, with none from an item to itself (Steck 2019, arXiv 1905.03375)."
    def __init__(self, strength: float = 350.):  # ridge penalty
        self.strength = check_number('strength', strength, above=0)

    def fit(self, X: Tensor):  # (n_users, n_items), 0 where nothing is known
        "Solve for `weights`, (n_items, n_items)."
        P = torch.linalg.inv(X.T @ X + self.strength*torch.eye(X.shape[1]).to(X))
        self.weights = (-P/P.diag()).fill_diagonal_(0)
        return self

    def score(self, X: Tensor) -> Tensor:  # (users, n_items) -> the same shape; new users too
        "What each user's items say together about every item."
        return X @ self.weights

class ItemKNN:
    "Items weighted by cosine to the `k` nearest, damped where few people rated both (Sarwar et al. 2001)."
    def __init__(
        self,
        k: int = 100,  # neighbours of an item
        shrink: float = 10.,  # added below the fraction of the cosine
    ):
        self.k, self.shrink = check_whole('k', k), check_number('shrink', shrink, least=0)

    def fit(self, X: Tensor):  # (n_users, n_items)
        "Find `weights`, (n_items, n_items), at most `k` to a column above zero unless there are ties."
        together = X.T @ X
        length = together.diag().sqrt()
        alike = (together/(length[:, None]*length + self.shrink + 1e-9)).fill_diagonal_(0)
        least = alike.topk(min(self.k, len(alike)), dim=0).values[-1]
        self.weights = alike*(alike >= least)
        return self

    def score(self, X: Tensor) -> Tensor:
        "The sum of a user's items, each times its likeness."
        return X @ self.weights

class ImplicitALS:
    "Weighted factorisation of done (1) and not done (0) by ridge regressions in turn (Hu et al. 2008)."
    def __init__(
        self,
        n_factors: int = 50,
        strength: float = 30.,  # ridge penalty
        alpha: float = 5.,  # how much more a 1 counts than a 0, which counts 1
        sweeps: int = 5,  # how often users and items are each solved
        seed: int = 0,  # of the start
    ):
        self.n_factors, self.sweeps = check_whole('n_factors', n_factors), check_whole('sweeps', sweeps)
        self.strength = check_number('strength', strength, above=0)
        self.alpha, self.seed = check_number('alpha', alpha, above=0), check_whole('seed', seed, 0)

    def solve(self, X, Q):
        "The ridge regression of each row of X on the factors Q."
        d, penalty = Q.shape[1], self.strength*torch.eye(Q.shape[1]).to(Q)
        products = (Q[:, :, None]*Q[:, None]).flatten(1)
        A = self.alpha*(X @ products).view(-1, d, d) + Q.T @ Q + penalty
        return torch.linalg.solve(A, (self.alpha*X + (X > 0)) @ Q)

    def fit(self, X: Tensor):  # (n_users, n_items), 0 where nothing is known, else about 1
        "Solve for `item_factors`, (n_items, n_factors)."
        gen = torch.Generator().manual_seed(self.seed)
        self.item_factors = .1*torch.randn(X.shape[1], self.n_factors, generator=gen).to(X)
        for _ in range(self.sweeps):
            self.item_factors = self.solve(X.T, self.solve(X, self.item_factors))
        return self

    def score(self, X: Tensor) -> Tensor:  # new users too
        "Solve for the users, and multiply."
        return self.solve(X, self.item_factors) @ self.item_factors.T