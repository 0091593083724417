"""MNIST: how fast to 99%, how well in 90 seconds, and beside fastai from image files and from tensors at the
same settings.

    python bench/vision.py                       everything, one thread, about half an hour
    python bench/vision.py --only ours           needs torch and numpy only (with --data); on a GPU: time to
                                                 99% and to 99.5%
    python bench/vision.py --only select         the choice of settings, on the last 10,000 training digits

    --data DIR    folder with the four IDX files (.gz); without it lesson8.data fetches them
    --out FILE    where the results go (bench/results/vision.json; on a GPU vision_gpu.json beside it)

Settings are chosen on 10,000 held-out training digits among the candidates below; the 10,000 test digits are
read once, by the chosen. Time is that of `fit` alone: CPU time of the process on one thread, wall time on a
GPU (after a first run that nobody times).
"""
import argparse, gzip, os, sys, tempfile, time
from functools import partial
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F

from _record import RESULTS, row, save, stored_rows
from lesson8.batches import Batches
from lesson8.digits_net import conv_net, random_shift
from lesson8.history import accuracy
from lesson8.training import fit, predict

BASE = dict(channels=(8, 16, 32, 64), kernels=(5, 3, 3, 3), strides=2, epochs=2, bs=256, lr=.03, wd=.01,
            smooth=.1, shift=0, bf16=False)
FAST = {  # what differs from BASE; at most 6.5 CPU seconds for 60,000 digits
    'base': {}, 'lr .02': dict(lr=.02), 'lr .05': dict(lr=.05), 'wd .1': dict(wd=.1),
    'smoothing .05': dict(smooth=.05), 'smoothing 0': dict(smooth=0.),
    'bs 128, lr .02': dict(bs=128, lr=.02), 'bs 512, lr .05': dict(bs=512, lr=.05),
    'shifts of 1 pixel': dict(shift=1),
    'kernels 3333': dict(kernels=(3, 3, 3, 3)), 'kernels 5533': dict(kernels=(5, 5, 3, 3)),
    'kernels 5533, lr .02': dict(kernels=(5, 5, 3, 3), lr=.02),
    'kernels 5533, smoothing .05': dict(kernels=(5, 5, 3, 3), smooth=.05),
    '8-16-32-128': dict(channels=(8, 16, 32, 128)),
    '4-16-32-64': dict(channels=(4, 16, 32, 64)), '8-16-48-64': dict(channels=(8, 16, 48, 64)),
    '8-16-64-64': dict(channels=(8, 16, 64, 64))}
# the first map, the dearest, has 7x7 places in place of 14x14
STRIDE4 = dict(channels=(16, 64, 64), kernels=(7, 3, 3), strides=(4, 2, 2), epochs=3)
FAST |= {f'stride 4, {name}': STRIDE4 | c for name, c in {
    '16-32-64': dict(channels=(16, 32, 64)), '16-32-64, 4 epochs': dict(channels=(16, 32, 64), epochs=4),
    '16-32-128': dict(channels=(16, 32, 128)),
    '16-48-64': dict(channels=(16, 48, 64)), '16-64-64': {}, '16-64-64, lr .02': dict(lr=.02),
    '16-64-64, lr .05': dict(lr=.05), '16-64-64, wd .1': dict(wd=.1),
    '16-64-96': dict(channels=(16, 64, 96)), '24-48-64': dict(channels=(24, 48, 64))}.items()}
WIDE = BASE | dict(channels=(32, 64, 128), kernels=(5, 3, 3), bs=128, lr=.01, shift=2)
LONG = {  # what differs from WIDE; at most 80 CPU seconds
    '32-64-128, 6 epochs': dict(epochs=6), '32-64-128, 6 epochs, shifts of 1': dict(epochs=6, shift=1),
    '32-64-128, 6 epochs, lr .02': dict(epochs=6, lr=.02),
    '24-48-96, 9 epochs': dict(channels=(24, 48, 96), epochs=9),
    '16-32-64-128, kernels 5533, 10 epochs': dict(channels=(16, 32, 64, 128), kernels=(5, 5, 3, 3),
                                                  epochs=10)}
GPU = dict(bs=512, lr=.02)  # on a GPU small batches leave it idle
GPU_99 = {f'{e} epochs, {w}': BASE | GPU | dict(channels=ch, kernels=k, epochs=e) for e in (1, 2, 3)
          for w, ch, k in (('8-16-32-64', (8, 16, 32, 64), (5, 5, 3, 3)),
                           ('32-64-128-256', (32, 64, 128, 256), (5, 5, 3, 3)))}
GPU_995 = {f'{e} epochs, {w}, shifts of {s}': BASE | GPU
           | dict(channels=ch, kernels=(5, 5, 3, 3), epochs=e, shift=s) for e in (8, 12, 18, 27)
           for s in (1, 2) for w, ch in (('32-64-128-256', (32, 64, 128, 256)),
                                         ('64-128-256-512', (64, 128, 256, 512)))}


def load(folder, device):
    "Digits as (n, 1, 28, 28) bytes, and labels: 60,000 to train, 10,000 to test."
    if folder is None:
        from lesson8.images import mnist
        d = mnist()
        if d.name != 'mnist': raise SystemExit('this needs the full MNIST: give its folder with --data')
        parts = d.train_x, d.train_y, d.test_x, d.test_y
    else:
        parts = [read_idx(next(Path(folder).glob(f'{p}-{k}-ubyte*'))) for p in ('train', 't10k')
                 for k in ('images-idx3', 'labels-idx1')]
    return [(p[:, None] if p.ndim == 3 else p.long()).to(device) for p in parts]


def read_idx(path):
    data = (gzip.open if path.suffix == '.gz' else open)(path, 'rb').read()
    shape = np.frombuffer(data, '>u4', data[3], 4).astype(int).tolist()
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4*data[3]).reshape(shape).copy())


def as_input(x, shift=0):
    "Bytes of one batch to numbers from 0 to 1, each picture moved by up to `shift` pixels."
    return (random_shift(x, shift) if shift else x)/255


def sync(device):
    if device == 'cuda': torch.cuda.synchronize()


def make(s): return conv_net(s['channels'], s['kernels'], s['strides']).to(memory_format=torch.channels_last)


def train(s, seed, x, y, device):
    "A net trained with setting `s`: (net, CPU seconds, wall seconds)."
    torch.manual_seed(seed)
    net = make(s).to(device)
    batches = Batches(x, y, s['bs'], seed=seed, transform=partial(as_input, shift=s['shift']))
    loss = partial(F.cross_entropy, label_smoothing=s['smooth'])
    sync(device); cpu, wall = time.process_time(), time.perf_counter()
    autocast = torch.bfloat16 if s['bf16'] else None
    fit(net, batches, loss=loss, epochs=s['epochs'], lr=s['lr'], wd=s['wd'], threads=1, autocast=autocast,
        progress=False)
    sync(device)
    return net, time.process_time() - cpu, time.perf_counter() - wall


def score(net, x, y):
    return accuracy(*predict(net, Batches(x, y, 1000, shuffle=False, transform=as_input))).item()


def try_out(name, s, seeds, x, y, xv, yv, device, scale=1.):
    """One setting over seeds 0..n-1, as a row with its seconds beside the accuracy. `scale`: from the digits
    trained on to 60,000."""
    runs = [train(s, seed, x, y, device) for seed in range(seeds)]
    r = row(name, [score(net, xv, yv) for net, *_ in runs], 'accuracy')
    seconds = {k: row('', [scale*run[i] for run in runs], 's')
               for i, k in ((1, 'cpu_seconds'), (2, 'wall_seconds'))}
    r |= {k: v['value'] for k, v in seconds.items()} | {f'{k}_sd': v['sd']
                                                        for k, v in seconds.items()} | dict(setting=s)
    print(
        f"{name:<56}{r['value']:.4f} sd {r['sd']:.4f}  {r['cpu_seconds']:.1f} CPU s, "
        f"{r['wall_seconds']:.1f} s", flush=True)
    return r


def seconds(id, r, clock='cpu_seconds'):
    "The time that the row `r` of `try_out` took, as a row of its own."
    return dict(id=id, value=r[clock], sd=r[f'{clock}_sd'], n=r['n'], unit='s')


def select(group, candidates, seeds, x, y, device):
    "Accuracy on the last 10,000 training digits for each candidate."
    parts = x[:50000], y[:50000], x[50000:], y[50000:]
    return [try_out(f'vision.select.{group}.{name}', c, seeds, *parts, device, scale=1.2)
            for name, c in candidates.items()]


def best_within(rows, limit):
    "The setting with the highest accuracy among those within `limit` CPU seconds."
    best = max((r for r in rows if r['cpu_seconds'] <= limit), key=lambda r: r['value'])
    print('chosen:', best['id'], flush=True)
    return best['setting']


def cheapest(rows, goal):
    "The setting that takes least wall time among those that reach `goal`; if none does, the most accurate."
    good = [r for r in rows if r['value'] >= goal]
    best = min(good, key=lambda r: r['wall_seconds']) if good else max(rows, key=lambda r: r['value'])
    print('chosen:', best['id'], '' if good else f'(none reached {goal})', flush=True)
    return best['setting']


def ours(x, y, xt, yt, chosen):
    "The two rows of the scoreboard, on test digits."
    fast = try_out('vision.mnist.acc_fast', chosen['fast'], 10, x, y, xt, yt, 'cpu')
    long = try_out('vision.mnist.acc_90s', chosen['long'], 5, x, y, xt, yt, 'cpu')
    rows = [fast, long]
    if fast['value'] >= .99: rows.append(seconds('vision.mnist.cpu_seconds_to_99', fast))
    return rows + [seconds('vision.mnist.acc_90s_cpu_seconds', long)]


def gpu(x, y, xt, yt, seeds):
    "Time to 99% and to 99.5% on a GPU."
    train(BASE | GPU, 0, x, y, 'cuda')  # kernels are loaded and chosen
    rows = []
    for name, candidates, goal in (('99', GPU_99, .99), ('995', GPU_995, .995)):
        tried = select(f'gpu_{name}', candidates, 3, x, y, 'cuda')
        r = try_out(f'vision.mnist.gpu_acc_{name}', cheapest(tried, goal), seeds, x, y, xt, yt, 'cuda')
        rows += tried + [r, seconds(f'vision.mnist.gpu_seconds_{name}', r, 'wall_seconds')]
        print(
            f"mean test accuracy {r['value']:.4f}: "
            f"{'reached' if r['value'] >= goal else 'NOT reached'} {goal}", flush=True)
    return rows


def plain_loop(s, seed, x, y, xt, yt):
    "The loop anybody would write, on whole tensors; `x` from 0 to 1, `xt` bytes."
    torch.manual_seed(seed)
    net = make(s)
    opt = torch.optim.AdamW(net.parameters(), s['lr'], weight_decay=s['wd'])
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, s['lr'], -(-len(y)//s['bs']))
    for rows in torch.randperm(len(y)).split(s['bs']):
        F.cross_entropy(net(x[rows]), y[rows], label_smoothing=s['smooth']).backward()
        opt.step(); opt.zero_grad(); schedule.step()
    return score(net, xt, yt)


def our_epoch(s, x, y, xt, yt, seed):
    net, *_ = train(s | dict(epochs=1), seed, x, y, 'cpu')
    return score(net, xt, yt)


def fastai_epoch(dls, s, seed):
    """One epoch of fastai's Learner with its fit_one_cycle, validation on the test digits included, as in
    ours."""
    from fastai.vision.all import Learner, accuracy as fastai_accuracy
    torch.manual_seed(seed)
    net, loss = make(s), partial(F.cross_entropy, label_smoothing=s['smooth'])
    learn = Learner(dls, net, loss_func=loss, metrics=fastai_accuracy, wd=s['wd'])
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, s['lr'])
    return learn.recorder.values[-1][-1]


def write_pngs(folder, **parts):
    from PIL import Image
    for name, (x, y) in parts.items():
        for c in range(10): (folder/name/str(c)).mkdir(parents=True)
        for i, (p, c) in enumerate(zip(x[:, 0].numpy(), y.tolist())):
            Image.fromarray(p).save(folder/name/str(c)/f'{i}.png')


def beside_fastai(x, y, xt, yt, s, others, rounds):
    """One epoch and one validation, each way in turn: CPU and wall seconds, accuracy.

    The nets of `others` train from image files and our way only: reading takes the same time for all, so the
    ratio depends on the net."""
    from fastai.vision.all import DataLoaders, ImageDataLoaders, PILImageBW, TfmdDL
    with tempfile.TemporaryDirectory() as tmp:
        write_pngs(Path(tmp), train=(x, y), test=(xt, yt))
        png = ImageDataLoaders.from_folder(tmp, train='train', valid='test', img_cls=PILImageBW, bs=s['bs'],
                                           num_workers=0, device='cpu')
        x01, xt01 = as_input(x), as_input(xt)
        tensors = DataLoaders(*[TfmdDL(list(zip(a, b)), bs=s['bs'], shuffle=k == 0, num_workers=0)
                                for k, (a, b) in enumerate(((x01, y), (xt01, yt)))])
        batches = DataLoaders(Batches(x, y, s['bs'], transform=as_input),
                              Batches(xt, yt, 1000, shuffle=False, transform=as_input))
        ways = dict(fastai_png=partial(fastai_epoch, png, s),
                    fastai_tensors=partial(fastai_epoch, tensors, s),
                    fastai_batches=partial(fastai_epoch, batches, s),
                    plain_loop=lambda seed: plain_loop(s, seed, x01, y, xt, yt),
                    ours=partial(our_epoch, s, x, y, xt, yt))
        for name, other in others.items():
            ways |= {f'fastai_png_{name}': partial(fastai_epoch, png, other),
                     f'ours_{name}': partial(our_epoch, other, x, y, xt, yt)}
        got = {name: [] for name in ways}
        for r in range(rounds):
            for name in list(ways)[::1 if r % 2 == 0 else -1]:
                cpu, wall = time.process_time(), time.perf_counter()
                acc = ways[name](r)
                got[name].append((time.process_time() - cpu, time.perf_counter() - wall, acc))
                print(f'{name:<16} {got[name][-1][0]:6.2f} CPU s {got[name][-1][1]:6.2f} s  {acc:.4f}',
                      flush=True)
    cpu, wall, acc = ({n: [v[k] for v in vs] for n, vs in got.items()} for k in range(3))
    rows = [row(f'vision.mnist.epoch_{u}_{n}', t[n], 's') for n in ways
            for u, t in (('cpu', cpu), ('wall', wall))]
    rows += [row(f'vision.mnist.acc_1_epoch_{n}', acc[n], 'accuracy') for n in ways]
    pairs = {n: 'ours' for n in ways if 'ours' not in n} | {f'fastai_png_{n}': f'ours_{n}' for n in others}
    return rows + [row(f'vision.mnist.speedup_{peer}{end}', [a/b for a, b in zip(t[peer], t[own])], 'ratio')
                   for peer, own in pairs.items() for end, t in (('', cpu), ('_wall', wall))]


def with_seconds(rows):
    "The rows, and for each candidate its time as a row of its own."
    return rows + [seconds(r['id'].replace('.select.', '.select_seconds.'), r)
                   for r in rows if '.select.' in r['id']]


def again(id, seed):
    "The accuracy of a stored row for one seed more: its setting stands beside it."
    setting = stored_rows(RESULTS/'vision.json')[id]['setting']
    x, y, xt, yt = load(None, 'cpu')
    return score(train(setting, seed, x, y, 'cpu')[0], xt, yt)

CHEAP = {'vision.mnist.acc_fast': partial(again, 'vision.mnist.acc_fast')}  # about six seconds


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--only', choices=['select', 'ours', 'fastai'], default=None)
    p.add_argument('--data', default=None)
    p.add_argument('--device', choices=['cpu', 'cuda'],
                   default='cuda' if torch.cuda.is_available() else 'cpu')
    p.add_argument('--seeds', type=int, default=10,
                   help='on a GPU; on a CPU it is 10 to 99%% and 5 for the long run')
    p.add_argument('--rounds', type=int, default=3, help='beside fastai')
    p.add_argument('--out', type=Path, default=None)
    a = p.parse_args()
    torch.set_num_threads(1)
    x, y, xt, yt = load(a.data, a.device)
    if a.device == 'cuda':
        rows = gpu(x, y, xt, yt, a.seeds)
        return save('vision_gpu', with_seconds(rows), path=a.out,
                    command='python bench/vision.py --only ours --data DIR')
    old, rows, chosen = stored_rows(a.out or RESULTS/'vision.json'), [], {}
    for group, candidates, base, seeds, limit in (('fast', FAST, BASE, 3, 6.5), ('long', LONG, WIDE, 2, 80.)):
        kept = [r for i, r in old.items() if i.startswith(f'vision.select.{group}.')]
        if a.only in (None, 'select') or not kept:
            kept = select(group, {name: base | c for name, c in candidates.items()}, seeds, x, y, a.device)
        chosen[group] = best_within(kept, limit)
        rows += kept
    if a.only in (None, 'ours'): rows += ours(x, y, xt, yt, chosen)
    if a.only in (None, 'fastai'):
        rows += beside_fastai(x, y, xt, yt, chosen['fast'], dict(base=BASE, stride4=BASE | STRIDE4), a.rounds)
    packages = ['torch', 'numpy'] + ['fastai']*any('fastai' in id for id in [*old, *(r['id'] for r in rows)])
    save('vision', with_seconds(rows), packages, path=a.out, keep=bool(a.only))


if __name__ == '__main__': main()
