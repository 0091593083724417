"""The net that reads digits: its receptive fields, its table, what excites its filters; no training here."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from torch import nn

from conftest import many, require
from lesson8.digits_net import conv_net, layer_table, random_shift, receptive_field, top_patches


@many
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_shift_keeps_the_picture(n, h, w):
    x = torch.randint(1, 9, (n, 2, h, w))
    y = random_shift(x, 1)
    padded = F.pad(x, (1,)*4)
    for a, p in zip(y, padded):
        assert any(torch.equal(a, p[:, i:i+h, j:j+w]) for i in range(3) for j in range(3))


def test_receptive_field_is_what_gradients_reach():
    torch.manual_seed(0)
    net = conv_net((4, 4, 4), (5, 3, 3), size=64)[:9].eval()
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, torch.nn.Conv2d): m.weight.abs_()
    x = torch.rand(1, 1, 64, 64, requires_grad=True)
    y, f = net(x), receptive_field(net)
    for i in (0, 3, y.shape[2] - 1):
        hit = torch.autograd.grad(y[0, 0, i, 4], x, retain_graph=True)[0][0, 0].any(1).nonzero().flatten()
        first = f.start + i*f.step
        assert (hit.min().item(), hit.max().item()) == (max(0, first), min(63, first + f.size - 1))


def reach(layers, i, size):
    "First and last row of the picture that can change row i of the last map."
    x = torch.zeros(1, 1, size, size, requires_grad=True)
    hit = torch.autograd.grad(layers(x)[0, 0, i].sum(), x)[0][0, 0].any(1).nonzero().flatten()
    return hit.min().item(), hit.max().item()


@pytest.mark.parametrize('layers', [
    nn.Sequential(nn.Conv2d(1, 1, 3, padding=2, dilation=2), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3)),
    nn.Sequential(nn.Conv2d(1, 1, 3, padding='same', dilation=2), nn.AvgPool2d(3, 2),
                  nn.Conv2d(1, 1, 5, 3, 2)),
    nn.Sequential(nn.Conv2d(1, 1, 4, 2, padding='valid'), nn.Conv2d(1, 1, 3, padding='valid')),
    nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, 2, 1), nn.AvgPool2d(2))], ids=str)
def test_receptive_field_of_a_chain(layers):
    f, size = receptive_field(layers), 50
    for i in range(3):
        first = f.start + i*f.step
        assert reach(layers, i, size) == (max(0, first), min(size - 1, first + f.size - 1))


def test_a_layer_that_is_used_twice_counts_twice():
    pool = nn.MaxPool2d(2)
    assert receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), pool, nn.Conv2d(1, 1, 3), pool)) == (10, 4, 0)


def test_layer_table():
    "A row for every kind of layer, groups and other precisions too; the model's modes stay as they were."
    net = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1, groups=2), nn.BatchNorm2d(8), nn.MaxPool2d(2),
                        nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(8*3*3, 5))
    net[1].eval()
    t = layer_table(net, (4, 16, 16))
    assert ' | '.join(t.index) == \
        'Conv2d 3x3, stride 2 | MaxPool2d 2x2, stride 2 | AvgPool2d 2x2, stride 1 | Linear 72 to 5'
    assert t.output.tolist() == [(8, 8, 8), (8, 4, 4), (8, 3, 3), (5,)]
    assert t.weights.tolist() == [8*2*9 + 8, 0, 0, 72*5 + 5] and t.sees.tolist() == [3, 5, 9, 16]
    assert t.multiply_adds.tolist() == [8*8*8*2*9, 0, 0, 72*5]
    assert [m.training for m in net] == [True, False, True, True, True, True]
    assert not any(m._forward_hooks for m in net) and not net[1].num_batches_tracked
    for dtype in (torch.float64, torch.bfloat16): assert layer_table(net.to(dtype), (4, 16, 16)).equals(t)
    assert net[0].weight.dtype == torch.bfloat16 and net[0].weight.grad is None
    assert layer_table(nn.Sequential(nn.MaxPool2d(2))).output.tolist() == [(1, 14, 14)]


def test_layer_table_leaves_nothing_behind_when_it_fails():
    net = conv_net().train()
    with pytest.raises(RuntimeError): layer_table(net, (3, 28, 28))
    assert net.training and not any(m._forward_hooks for m in net.modules())


@pytest.mark.parametrize('whole', [np.int64, np.uint8])
def test_whole_numbers_of_numpy_and_torch(whole):
    "Settings read from an array are whole numbers, in PyTorch as here."
    a = conv_net((8, 16), (5, 3), whole(2), size=whole(20))
    assert layer_table(a, (1, 20, 20)).equals(layer_table(conv_net((8, 16), (5, 3), 2, size=20), (1, 20, 20)))
    layers = nn.Sequential(nn.Conv2d(1, 1, whole(3), whole(2), whole(1)), nn.MaxPool2d(whole(2)))
    assert receptive_field(layers) == (5, 4, -1)
    x = torch.rand(5, 1, 8, 8)
    torch.manual_seed(0); moved = random_shift(x, whole(2))
    torch.manual_seed(0); assert torch.equal(moved, random_shift(x, 2))
    layer = nn.Conv2d(1, 3, 3)
    assert torch.equal(top_patches(layer, x, whole(2), bs=whole(3))[0], top_patches(layer, x, 2)[0])


def test_conv_net():
    "A stride for all layers or one each; ReLU and batch norm behind each convolution; numbers at the end."
    net = conv_net((4, 6), (3, 5), (1, 2), n_in=3, n_out=7, size=9)
    assert [type(m).__name__ for m in net] == ['Conv2d', 'ReLU', 'BatchNorm2d']*2 + ['Conv2d', 'Flatten']
    assert [net[k].stride[0] for k in (0, 3, 6)] == [1, 2, 1] and net[6].kernel_size == (5, 5)
    assert net(torch.zeros(2, 3, 9, 9)).shape == (2, 7) and all(net[k].bias is None for k in (0, 3))
    t = layer_table(conv_net())
    assert t.output.tolist() == [(8, 14, 14), (16, 7, 7), (32, 4, 4), (64, 2, 2), (10, 1, 1)]
    assert t.weights.tolist() == [25*8, 9*8*16, 9*16*32, 9*32*64, 4*64*10 + 10]


def test_random_shift_goes_everywhere_by_chance():
    "All 25 shifts by up to 2 occur, each picture has its own, and what comes in has the value `fill`."
    x = torch.zeros(2000, 1, 5, 5); x[:, :, 2, 2] = 1
    torch.manual_seed(0)
    y = random_shift(x, 2, fill=9.)
    places = (y[:, 0] == 1).flatten(1).int().argmax(1)
    assert torch.bincount(places, minlength=25).min() > 40
    row, col = places//5 - 2, places % 5 - 2
    assert torch.equal((y == 9).sum((1, 2, 3)), 25 - (5 - row.abs())*(5 - col.abs()))
    default = random_shift(x)
    assert set(default.unique().tolist()) == {0, 1}
    assert default[:, 0].flatten(1).argmax(1).unique().numel() == 25
    with pytest.raises(ValueError, match='x has shape'): random_shift(x[0])
    with pytest.raises(ValueError, match='most is -1'): random_shift(x, -1)


def test_top_patches_are_what_excites():
    "The k strongest pictures of each kernel, strongest first, for any batch size; a patch alone gives it."
    torch.manual_seed(0)
    layers, x = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.Conv2d(4, 3, 3)), torch.rand(11, 1, 15, 13)
    images, corners, values = top_patches(layers, x, 4, bs=3)
    maps = layers(x)
    assert images.shape == values.shape == (3, 4) and corners.shape == (3, 4, 2) and not values.requires_grad
    assert torch.equal(values, maps.amax((2, 3)).T.topk(4).values)
    size = receptive_field(layers).size
    for f in range(3):
        for i, (r, c), v in zip(images[f], corners[f].tolist(), values[f]):
            torch.testing.assert_close(layers(x[i:i+1, :, r:r+size, c:c+size])[0, f].item(), v.item())
    assert all(torch.equal(a, b) for a, b in zip(top_patches(layers, x, 4), (images, corners, values)))
    assert top_patches(layers, x)[0].shape == (3, 9)
    for k in (0, 12, 2.):
        with pytest.raises(ValueError, match=f'k is {k}: give a whole number from 1 to 11'):
            top_patches(layers, x, k)
    padded = nn.Conv2d(1, 2, 5, 2, padding=2)  # the corner may lie in the padding
    images, corners, values = top_patches(padded, x, 11)
    wide = F.pad(x, (2,)*4)
    for i, (r, c), v in zip(images[0], (corners[0] + 2).tolist(), values[0]):
        patch = wide[i, 0, r:r+5, c:c+5]
        torch.testing.assert_close((patch*padded.weight[0, 0]).sum() + padded.bias[0], v)
    normed = nn.Sequential(layers, nn.BatchNorm2d(3)).train()
    top_patches(normed, x, 1)
    assert normed.training and not normed[1].num_batches_tracked


def test_same_on_a_gpu():
    require('gpu', torch.cuda.is_available(), 'a machine with an NVIDIA GPU')
    torch.manual_seed(0)
    x = torch.randn(3, 4, 9, 8).cuda()
    torch.testing.assert_close(random_shift(x, 0), x)
    net, pictures = conv_net(), torch.rand(20, 1, 28, 28)
    before = top_patches(net[:4], pictures, 3)
    net.cuda()
    assert torch.equal(top_patches(net[:4], pictures, 3)[0], before[0]) and len(layer_table(net)) == 5
