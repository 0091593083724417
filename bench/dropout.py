"""Dropout on few digits: how much it gains, where the masks have to sit, beside what else helps, where it hurts, and what its spread knows.

    python bench/dropout.py                        everything, one thread, about an hour of a quiet core
    python bench/dropout.py --only select          the choice of settings alone, which the other parts read from the result file
    python bench/dropout.py --only p controls      some parts; the other rows of the file stay

Seed s draws its own digits among the first 50,000 training digits and its own start values; arms that are compared share both. Learning rate and p are
chosen with other seeds on 4,000 of the last 10,000 training digits, for each arm by itself; the number of steps is the same for all. The 10,000 test digits are only reported on. Losses of training are those in evaluation mode, without masks.
"""
import argparse, copy, json, os, statistics as st, sys, time
from functools import cache, partial
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import nn

from _record import RESULTS, row, save
from lesson8.batches import Batches
from lesson8.digits_net import random_shift
from lesson8.dropout import digit_net, mc_predict
from lesson8.history import accuracy
from lesson8.images import mnist
from lesson8.steps import num_threads
from lesson8.training import fit, predict

SEEDS, FEW, CHOOSE = 10, 5, (100, 101, 102)
PS = (0., .2, .4, .6, .8)


@cache
def digits():
    data = mnist()
    if data.name != 'mnist': raise SystemExit('this needs the full MNIST')
    def part(x, y): return x[:, None].float()/255, y
    return dict(train=part(data.train_x[:50000], data.train_y[:50000]), held=part(data.train_x[-10000:-6000], data.train_y[-10000:-6000]),
                test=part(data.test_x, data.test_y))


def draw(n, seed):
    "The n digits of a seed."
    x, y = digits()['train']
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]
    return x[rows], y[rows]


def train(spec, seed, data=None, **kwargs):
    """A net trained as `spec` says: lr, epochs, wd, shift, n (digits), bs; the rest is for `digit_net`."""
    spec = dict(n=500, wd=.01, shift=0, bs=50) | spec
    n, lr, epochs, wd, shift, bs = [spec.pop(k) for k in ('n', 'lr', 'epochs', 'wd', 'shift', 'bs')]
    torch.manual_seed(seed)
    net = digit_net(**spec).to(memory_format=torch.channels_last)
    batches = Batches(*(data or draw(n, seed)), bs, seed=seed, transform=partial(random_shift, most=shift) if shift else None)
    torch.manual_seed(seed)
    fit(net, batches, loss=F.cross_entropy, lr=lr, epochs=epochs, wd=wd, threads=1, progress=False, **kwargs)
    return net


def score(net, x, y):
    "(accuracy, loss) in evaluation mode."
    pred, y = predict(net, Batches(x, y, 500, shuffle=False))
    return accuracy(pred, y).item(), F.cross_entropy(pred, y).item()


def full(spec, seed):
    "What is noted of one training: accuracy and loss on the test digits and on its own."
    net = train(spec, seed)
    acc, loss = score(net, *digits()['test'])
    own_acc, own_loss = score(net, *[t[:5000] for t in draw(spec.get('n', 500), seed)])
    found = dict(acc=acc, loss=loss, own_acc=own_acc, own_loss=own_loss, gap=loss - own_loss)
    return {k: round(v, 6) for k, v in found.items()}


MEMO, HELD = {}, {}


def runs(spec, seeds=SEEDS):
    "`full` for seeds 0 .. seeds-1; what this script has trained before is kept, in the result file, too."
    key = json.dumps(spec, sort_keys=True)
    have = MEMO.setdefault(key, stored_runs().get(key, []))
    while len(have) < seeds: have.append(full(spec, len(have)))
    return have[:seeds]


@cache
def stored_runs():
    "Specification -> the runs that the result file has of it."
    path = RESULTS/'dropout.json'
    if not path.exists(): return {}
    return {json.dumps(r['spec'], sort_keys=True): r['runs'] for r in json.loads(path.read_text())['results'] if 'runs' in r}


def rows(id, spec, seeds=SEEDS, against=None):
    "The rows of an arm; with `against`, the paired gain in accuracy over that spec."
    start, found = time.process_time(), runs(spec, seeds)
    out = [row(f'dropout.{id}', [r['acc'] for r in found], 'accuracy') | dict(spec=spec, runs=found)]
    out += [row(f'dropout.{id}.{k}', [r[k] for r in found], 'share' if k == 'own_acc' else 'nats') for k in ('loss', 'own_acc', 'own_loss', 'gap')]
    if against: out.append(paired(f'dropout.{id}.gain', [r['acc'] for r in found], [r['acc'] for r in runs(against, seeds)]))
    gain = f"  gain {out[-1]['value']:+.4f} sd {out[-1]['sd']:.4f} ({out[-1]['wins']} of {out[-1]['n']})" if against else ''
    print(f"{id:<34}{out[0]['value']:.4f} sd {out[0]['sd']:.4f}  loss gap {out[4]['value']:.3f}{gain}  {time.process_time() - start:.0f} s", flush=True)
    return out


def paired(id, new, old):
    "The mean of differences, pair by pair, and in how many pairs the new arm is ahead."
    return row(id, [a - b for a, b in zip(new, old)], 'accuracy') | dict(wins=sum(a > b for a, b in zip(new, old)))


# Which settings: for each arm by itself, on held-out training digits.

def held_out(spec, seeds=CHOOSE):
    "Mean accuracy on the held-out digits over the seeds that are only for choosing; what the result file has of it is kept."
    key = json.dumps(spec, sort_keys=True)
    if key not in HELD: HELD[key] = stored_held().get(key) or st.mean(score(train(spec, s), *digits()['held'])[0] for s in seeds)
    return HELD[key]


@cache
def stored_held():
    "Specification -> its accuracy on the held-out digits, as noted beside the choices in the result file."
    path = RESULTS/'dropout.json'
    if not path.exists(): return {}
    return {json.dumps(spec, sort_keys=True): v for r in json.loads(path.read_text())['results'] for v, spec in r.get('tried', [])}


def best(candidates, seeds=CHOOSE):
    "The candidate with the highest held-out accuracy, with what all of them reached."
    tried = []
    for c in candidates:
        tried.append((held_out(c, seeds), c))
        print(f'  held out {tried[-1][0]:.4f}  {c}', flush=True)
    return max(tried, key=lambda t: t[0])[1], [[round(v, 4), c] for v, c in tried]


EPOCHS, RATES = 60, (.003, .01, .02, .04)
ARMS = dict(none={}, drop=dict(maps=.4, units=.4), dense_none=dict(conv=False), dense_drop=dict(conv=False, units=.4))


def select():
    "The learning rate of each arm, then p; the number of steps is the same everywhere."
    out = []
    for name, arm in ARMS.items():
        pick, tried = best([arm | dict(lr=lr, epochs=EPOCHS) for lr in RATES])
        if 'drop' in name:
            pick, more = best([pick | {k: p for k in ('maps', 'units') if k in arm} for p in (.2, .3, .4, .5, .6)])
            tried += more
        print(name, pick, flush=True)
        out.append(row(f'dropout.select.{name}', [1], 'choice') | dict(spec=pick, tried=tried))
    return out


@cache
def chosen():
    "Arm -> settings, from the result file."
    d = json.loads((RESULTS/'dropout.json').read_text())
    return {r['id'].split('.')[2]: r['spec'] for r in d['results'] if r['id'].startswith('dropout.select.')}


# The measurements.

def p_curve():
    "Accuracy and gap against p, for the convnet and the dense net, on 500 digits."
    drop, dense = chosen()['drop'], chosen()['dense_drop']
    out = rows('conv.none', chosen()['none']) + rows('conv.drop', drop, against=chosen()['none'])
    out.append(next(r for r in out if r['id'] == 'dropout.conv.drop.gain') | dict(id='vision.dropout.gain'))
    out += rows('dense.none', chosen()['dense_none']) + rows('dense.drop', dense, against=chosen()['dense_none'])
    for p in PS:  # settings of the arm with dropout, only p changes
        out += rows(f'conv.p_{10*p:.0f}', drop | dict(maps=p, units=p)) + rows(f'dense.p_{10*p:.0f}', dense | dict(units=p))
    return out


def controls():
    "Fewer units without dropout, the other arm's settings, longer and shorter training, stopping early."
    none, drop, out = chosen()['none'], chosen()['drop'], []
    for width in (.5, 2.): out += rows(f'conv.width_{100*width:.0f}', none | dict(width=width), FEW, none)
    for e in (20, 60, 180):
        plain, n = none | dict(epochs=e), 3 if e > 100 else FEW
        out += rows(f'conv.none_{e}', plain, n) + rows(f'conv.drop_{e}', drop | dict(epochs=e), n, plain)
    stopped, again, epochs = zip(*[early(none, s) for s in range(FEW)])
    base = [r['acc'] for r in runs(none, FEW)]
    for name, accs in (('stopped', stopped), ('stopped_all', again)):
        out += [row(f'dropout.conv.{name}', accs, 'accuracy'), paired(f'dropout.conv.{name}.gain', accs, base)]
    return out + [row('dropout.conv.stopped.epochs', epochs, 'epochs')]


def early(spec, seed):
    """Accuracy of a net that learns from 400 of its 500 digits, as it was after the epoch with the lowest loss on the other 100; accuracy of a
    net that learns from all 500 for that number of epochs; that number."""
    x, y = draw(500, seed)
    seen = []
    def note(net, history): seen.append((score(net, x[400:], y[400:])[1], copy.deepcopy(net)))
    train(spec, seed, (x[:400], y[:400]), after_epoch=note)
    k = min(range(len(seen)), key=lambda i: seen[i][0])
    return score(seen[k][1], *digits()['test'])[0], score(train(spec | dict(epochs=k + 1), seed), *digits()['test'])[0], k + 1


def places():
    "Where the masks sit, the rest as in the arm with dropout: an explanation of the dense net's small gain, put to the test."
    none, drop, dense_none, dense = (chosen()[k] for k in ('none', 'drop', 'dense_none', 'dense_drop'))
    p, out, off = drop['maps'], [], dict(maps=0., units=0.)
    for name, where in dict(maps_only=dict(maps=p), units_only=dict(units=p), maps_2d=dict(maps=p, drop2d=True), pixels_2=dict(pixels=.2)).items():
        out += rows(f'conv.{name}', drop | off | where, FEW, none)
    more = dict(pixels_2=dense | dict(units=0., pixels=.2), pixels_4=dense | dict(units=0., pixels=.4), both_2=dense | dict(pixels=.2), shift_1=dense_none | dict(shift=1))
    for name, spec in more.items(): out += rows(f'dense.{name}', spec, FEW, dense_none)
    return out


def slow():
    "Both nets at a learning rate of .003, and three times as long: how a dense net can seem to gain little."
    out, small = [], dict(lr=.003)
    for name in ('conv', 'dense'):
        none, drop = (chosen()[f'dense_{k}' if name == 'dense' else k] | small for k in ('none', 'drop'))
        for e in (60, 180) if name == 'dense' else (60,):
            plain = none | dict(epochs=e)
            out += rows(f'slow.{name}_none_{e}', plain, FEW) + rows(f'slow.{name}_drop_{e}', drop | dict(epochs=e), FEW, plain)
    return out


def beside():
    "Dropout beside small shifts of the pictures and weight decay, alone and together; both strengths are chosen without dropout and kept with it."
    none, drop, out = chosen()['none'], chosen()['drop'], []
    wd, tried = best([none | dict(wd=w) for w in (.01, .1, 1., 3.)])
    shift, more = best([none | dict(shift=s) for s in (1, 2, 3)])
    wd, shift = dict(wd=wd['wd']), dict(shift=shift['shift'])
    for name, arm in dict(none=none, drop=drop).items():
        for label, spec in dict(wd=wd, shift=shift, wd_shift=wd | shift).items(): out += rows(f'beside.{name}_{label}', arm | spec, FEW, none)
    return [row('dropout.select.beside', [1], 'choice') | dict(spec=wd | shift, tried=tried + more)] + out


def together():
    """Does dropout help when the pictures are shifted and the weights decay? Learning rates and p are chosen again for that, and both arms
    are also trained three times as long. The gains are over the arm without dropout and with both."""
    both, out, arms = {k: chosen()['beside'][k] for k in ('wd', 'shift')}, [], {}
    grids = dict(none=[chosen()['none'] | both | dict(lr=lr) for lr in (.01, .02, .04)],
                 drop=[chosen()['drop'] | both | dict(maps=p, units=p, lr=lr) for p in (.1, .2, .4) for lr in (.01, .02, .04)])
    for name, grid in grids.items():
        arms[name], tried = best(grid)
        out.append(row(f'dropout.select.together_{name}', [1], 'choice') | dict(spec=arms[name], tried=tried))
    plain, spec = arms.values()
    out += rows('together.none', plain, FEW) + rows('together.drop', spec, FEW, plain) + rows('together.drop_4', chosen()['drop'] | both, FEW, plain)
    long = dict(epochs=180)
    return out + rows('together.none_180', plain | long, 3) + rows('together.drop_180', spec | long, 3, plain | long)


def sizes():
    "The gain against the number of digits, at the settings chosen for 500 of them and always 600 steps."
    none, drop, out = chosen()['none'], chosen()['drop'], []
    for n, epochs in ((200, 150), (500, 60), (1000, 30)):
        plain = none | dict(n=n, epochs=epochs)
        out += rows(f'n_{n}.none', plain, FEW) + rows(f'n_{n}.drop', drop | dict(n=n, epochs=epochs), FEW, plain)
    return out


def select_many():
    "With 10,000 digits the learning rate is chosen again, for each arm by itself, with one seed; p stays."
    out = []
    for name in ('none', 'drop'):
        pick, tried = best([chosen()[name] | dict(n=10000, epochs=8, lr=lr) for lr in (.003, .01, .02)], CHOOSE[:1])
        out.append(row(f'dropout.select.many_{name}', [1], 'choice') | dict(spec=pick, tried=tried))
    return out


def many():
    "The gain with 10,000 digits and 1,600 steps."
    none, drop = chosen()['many_none'], chosen()['many_drop']
    return rows('n_10000.none', none, 3) + rows('n_10000.drop', drop, 3, none)


def small():
    """A net that is too small, a quarter of the channels and units, on 500 digits; the learning rate is chosen again, for each arm by itself.
    (An eighth would leave one channel in front: without masks one of five such nets died, at an accuracy of .11.)"""
    out, arms = [], {}
    for k in ('none', 'drop'):
        arms[k], tried = best([chosen()[k] | dict(width=.25, lr=lr) for lr in RATES])
        out.append(row(f'dropout.select.small_{k}', [1], 'choice') | dict(spec=arms[k], tried=tried))
    return out + rows('small.none', arms['none'], FEW) + rows('small.drop', arms['drop'], FEW, arms['none'])


def norm():
    """Batch norm behind the masks (the variance it remembers is that of masked numbers) and before them. The learning rate is chosen again,
    without masks and with masks in front of batch norm; masks behind it take the latter."""
    out, arms = [], dict(none=chosen()['none'] | dict(norm='after dropout'), after=chosen()['drop'] | dict(norm='after dropout'))
    for name in arms:
        arms[name], tried = best([arms[name] | dict(lr=lr) for lr in (*RATES, .08, .16)])
        out.append(row(f'dropout.select.norm_{name}', [1], 'choice') | dict(spec=arms[name], tried=tried))
    arms['before'] = arms['after'] | dict(norm='before dropout')
    out += rows('norm.none', arms['none'], FEW)
    base = [r['acc'] for r in runs(arms['none'], FEW)]
    for name in ('after', 'before'):
        before, again, ratio = zip(*[recounted(arms[name], s) for s in range(FEW)])
        for label, accs in ((name, before), (f'{name}_recounted', again)):
            out += [row(f'dropout.norm.{label}', accs, 'accuracy'), paired(f'dropout.norm.{label}.gain', accs, base)]
            print(*out[-2:], flush=True)
        out += [row(f'dropout.norm.{name}.variance_ratio_{k}', r, 'ratio') for k, r in enumerate(zip(*ratio), 1)]
        print(*out[-3:], flush=True)
    return out


def recounted(spec, seed):
    """Accuracy; accuracy after batch norm has counted means and variances anew without masks; and for each batch norm the variance it
    remembers over the one it meets when predicting (median of the channels that aren't dead)."""
    net = train(spec, seed)
    before = score(net, *digits()['test'])[0]
    norms = [m for m in net.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    x, _ = draw(500, seed)
    met = {}
    def note(m, args): met[m] = args[0].transpose(0, 1).flatten(1).var(1)
    hooks = [m.register_forward_pre_hook(note) for m in norms]
    with torch.no_grad(): net(x)
    for h in hooks: h.remove()
    ratios = [(m.running_var/met[m])[met[m] > 1e-6].median().item() for m in norms]
    for m in norms: m.reset_running_stats(); m.momentum = None; m.train()
    with torch.no_grad():
        for part in x.split(100): net(part)
    return before, score(net.eval(), *digits()['test'])[0], ratios


def auc(doubt, wrong):
    "How often a wrong answer is doubted more than a right one; ties count half."
    order = doubt.double().argsort()
    ranks = torch.empty(len(doubt), dtype=torch.float64)
    values, inverse, counts = doubt.double().unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1)/2)[inverse]
    k = wrong.sum()
    return ((ranks[wrong].sum() - k*(k + 1)/2)/(k*(len(wrong) - k))).item()


def entropy(p): return -(p*p.clamp(min=1e-12).log()).sum(-1)


def doubts(seed, n=20, size=3000):
    "What the masks' spread knows about errors, and the plain confidence beside it, on the first test digits."
    x, y = (t[:size] for t in digits()['test'])
    batches, found = Batches(x, y, 500, shuffle=False), {}
    for name in ('none', 'drop'):
        net = train(chosen()[name], seed)
        p = predict(net, batches)[0].softmax(1)
        top, answer = p.max(1)
        wrong = answer != y
        found |= {f'{name}.accuracy': 1 - wrong.double().mean(), f'{name}.confidence': auc(-top, wrong), f'{name}.entropy': auc(entropy(p), wrong)}
        found[f'{name}.nll'] = F.nll_loss(p.log(), y)
    many = mc_predict(net, batches, n)[0].softmax(2)  # of the net with dropout
    mean, rows = many.mean(0), torch.arange(size)
    found |= {'mc.spread': auc(many[:, rows, answer].std(0), wrong), 'mc.information': auc(entropy(mean) - entropy(many).mean(0), wrong),
              'mc.mean_entropy': auc(entropy(mean), wrong), 'mc.mean_confidence': auc(-mean[rows, answer], wrong),
              'mc.votes': auc(-(many.argmax(2) == answer).double().mean(0), wrong),
              'mc.accuracy': (mean.argmax(1) == y).double().mean(), 'mc.nll': F.nll_loss(mean.log(), y)}
    return {k: float(v) for k, v in found.items()}


def mc():
    "Error detection, over the seeds; the paired differences are against the plain confidence of the same net."
    found, out = [doubts(s) for s in range(FEW)], []
    for k in found[0]:
        values = [f[k] for f in found]
        out.append(row(f'dropout.mc.{k}', values, 'accuracy') | dict(unit='accuracy' if 'accuracy' in k else 'nats' if 'nll' in k else 'auc'))  # means
        if k.startswith('mc.') and out[-1]['unit'] == 'auc':
            base = [f['drop.confidence'] for f in found]
            out.append(paired(f'dropout.mc.{k}.gain', values, base) | dict(unit='auc'))
        print(f"{k:<24}{st.mean(values):.4f} sd {st.stdev(values):.4f}", flush=True)
    return out


def films(seeds=3):
    "MovieLens: dropout of the embeddings of a CollabNN, everything else as it is tuned in bench/deep_collab.py."
    from lesson8.data import movielens_100k, random_split, rating_tensors
    from lesson8.deep_collab import CollabNN
    from lesson8.vocab import Vocab
    ml = movielens_100k()
    users, items = Vocab(ml.ratings.user), Vocab(ml.ratings.item)
    (x, y), (t, v) = rating_tensors(ml.ratings, users, items), random_split(len(ml.ratings))
    out = []
    for epochs, ps in ((5, (0., .4)), (12, (0., .4))):
        for p in ps:
            values = []
            for seed in range(seeds):
                torch.manual_seed(seed)
                model = CollabNN((len(users), 50), (len(items), 50), n_act=100, std=.05, embed_p=p)
                h = fit(model, Batches(x[t], y[t], 256, seed=seed), Batches(x[v], y[v], 4096, shuffle=False), epochs=epochs, lr=1e-2, wd=.1, threads=1, progress=False)
                values.append((h.last['valid_loss'], h.last['train_loss']))
            out.append(row(f'dropout.films.epochs_{epochs}.embed_p_{10*p:.0f}', [a for a, _ in values], 'mse'))
            print(out[-1], flush=True)
    return out


def again(id, seed):
    "The accuracy of one more seed of a stored arm."
    d = {r['id']: r for r in json.loads((RESULTS/'dropout.json').read_text())['results']}
    with num_threads(1): return score(train(d[id]['spec'], seed), *digits()['test'])[0]


CHEAP = {'dropout.conv.drop': partial(again, 'dropout.conv.drop')}  # about two seconds
PARTS = dict(select=select, p=p_curve, mc=mc, controls=controls, places=places, slow=slow, norm=norm, small=small, beside=beside, together=together, sizes=sizes,
             select_many=select_many, many=many, films=films)


def counted(results):
    "The rows, and behind each gain in how many pairs the new arm is ahead."
    for r in results:
        yield r
        if 'wins' in r: yield row(f"{r['id']}.wins", [r['wins']], 'pairs') | dict(n=r['n'])


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--only', nargs='*', choices=[*PARTS], default=[*PARTS])
    torch.set_num_threads(1)
    for name in p.parse_args().only:
        chosen.cache_clear()  # a part before this one may have chosen
        save('dropout', counted(PARTS[name]()), keep=True)


if __name__ == '__main__': main()
