"""Features of the whole Inception are those of the same net in PyTorch, with the weights of a file that it saved."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is the extra benchmark")
F = torch.nn.functional


class Conv(torch.nn.Module):
    def __init__(self, inputs, outputs, size, stride=1, padding=0):
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = torch.nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def same(size):
    return tuple(side // 2 for side in size)


class Block(torch.nn.Module):
    """Branches by name, each a chain of (features, (height, width), stride); a fork has two ends, a and b."""

    def __init__(self, inputs, chains, forks=(), pool=None, pooled=0):
        super().__init__()
        self.chains, self.pool, self.pooled = [], pool, pooled
        for name, chain in chains.items():
            names, width = [], inputs
            for number, (features, size, stride) in enumerate(chain, 1):
                names.append(f"{name}_{number}" if len(chain) > 1 or name in forks else name)
                self.add_module(names[-1], Conv(width, features, size, stride, same(size) if stride == 1 else 0))
                width = features
            ends = [f"{name}_{len(chain) + 1}{end}" for end in "ab"] if name in forks else []
            for end, size in zip(ends, ((1, 3), (3, 1))):
                self.add_module(end, Conv(width, 384, size, 1, same(size)))
            self.chains.append((names, ends))
        if pooled:
            self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x):
        outputs = []
        for names, ends in self.chains:
            y = x
            for name in names:
                y = getattr(self, name)(y)
            outputs += [getattr(self, end)(y) for end in ends] or [y]
        y = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if self.pool == "mean" else None
        y = F.max_pool2d(x, 3, *((1, 1) if self.pooled else (2,))) if y is None else y
        return torch.cat([*outputs, self.branch_pool(y) if self.pooled else y], 1)


def net():
    one, three, row, column = (1, 1), (3, 3), (1, 7), (7, 1)
    parts = {"Conv2d_1a_3x3": Conv(3, 32, 3, 2), "Conv2d_2a_3x3": Conv(32, 32, 3)}
    parts |= {"Conv2d_2b_3x3": Conv(32, 64, 3, 1, 1), "pool_1": torch.nn.MaxPool2d(3, 2)}
    parts |= {"Conv2d_3b_1x1": Conv(64, 80, 1), "Conv2d_4a_3x3": Conv(80, 192, 3), "pool_2": torch.nn.MaxPool2d(3, 2)}
    double = [(64, one, 1), (96, three, 1), (96, three, 1)]
    for name, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        chains = {"branch1x1": [(64, one, 1)], "branch5x5": [(48, one, 1), (64, (5, 5), 1)], "branch3x3dbl": double}
        parts[f"Mixed_{name}"] = Block(inputs, chains, pool="mean", pooled=pooled)
    parts["Mixed_6a"] = Block(288, {"branch3x3": [(384, three, 2)], "branch3x3dbl": [*double[:2], (96, three, 2)]})
    for name, n in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        long = [(n, one, 1), (n, column, 1), (n, row, 1), (n, column, 1), (192, row, 1)]
        chains = {"branch1x1": [(192, one, 1)], "branch7x7": [(n, one, 1), (n, row, 1), (192, column, 1)]}
        parts[f"Mixed_{name}"] = Block(768, chains | {"branch7x7dbl": long}, pool="mean", pooled=192)
    long = [(192, one, 1), (192, row, 1), (192, column, 1), (192, three, 2)]
    parts["Mixed_7a"] = Block(768, {"branch3x3": [(192, one, 1), (320, three, 2)], "branch7x7x3": long})
    for name, inputs, pool in (("7b", 1280, "mean"), ("7c", 2048, "largest")):
        chains = {"branch1x1": [(320, one, 1)], "branch3x3": [(384, one, 1)]}
        chains["branch3x3dbl"] = [(448, one, 1), (384, three, 1)]
        parts[f"Mixed_{name}"] = Block(inputs, chains, ("branch3x3", "branch3x3dbl"), pool, 192)
    whole = torch.nn.Sequential()
    for name, part in parts.items():
        whole.add_module(name, part)
    return whole.eval()


@pytest.mark.soak
def test_features_are_those_of_pytorch(tmp_path):
    from jaxgen.runs.inception_file import inception

    torch.manual_seed(0)
    model = net()
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm2d):
            for values, low, high in ((part.weight, 0.8, 1.2), (part.bias, -0.2, 0.2), (part.running_mean, -0.2, 0.2)):
                torch.nn.init.uniform_(values, low, high)
            torch.nn.init.uniform_(part.running_var, 0.7, 1.4)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    image = np.random.default_rng(0).integers(0, 256, (2, 28, 40, 3)).astype(np.uint8)
    x = torch.tensor(image.transpose(0, 3, 1, 2) / np.float32(255))
    with torch.no_grad():
        resized = F.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
        expected = model(2 * resized - 1).mean(dim=(2, 3)).numpy()
    features = inception(tmp_path / "net.pth", (28, 40, 3)).features(image)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())
