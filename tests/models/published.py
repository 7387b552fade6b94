"""The published networks as their sources describe them, written independently of fcn_edge.models.

Layers have the names of the published state dicts: torchvision's, and pytorch-fcn's. width is a
factor of all channels; 1.0 is as published.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

CLASSES = 1000  # of ImageNet

# Parameters that torchvision states for its weights (googlenet without the auxiliary heads).
PARAMETERS = {
    "alexnet": 61_100_840,
    "googlenet": 6_624_904,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "fcn_resnet50": 35_322_218,
    "fcn_resnet101": 54_314_346,
}


def wide(channels, width):
    return max(1, round(channels * width))


class AlexNet(nn.Module):
    def __init__(self, width=1.0):
        super().__init__()
        a, b, c, d, e = (wide(channels, width) for channels in (64, 192, 384, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(a, b, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(b, c, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, d, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(d, d, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(36 * d, e),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(e, e),
            nn.ReLU(),
            nn.Linear(e, CLASSES),
        )

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class VGG(nn.Module):
    def __init__(self, counts, width=1.0):
        super().__init__()
        layers, inside = [], 3
        for channels, count in zip((64, 128, 256, 512, 512), counts):
            for _ in range(count):
                layers += [nn.Conv2d(inside, wide(channels, width), 3, padding=1), nn.ReLU()]
                inside = wide(channels, width)
            layers.append(nn.MaxPool2d(2, 2))
        full = wide(4096, width)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(49 * inside, full),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(full, full),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(full, CLASSES),
        )

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class ConvBnRelu(nn.Module):
    def __init__(self, inside, outside, **convolution):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, bias=False, **convolution)
        self.bn = nn.BatchNorm2d(outside, eps=0.001)

    def forward(self, x):
        return functional.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    def __init__(self, inside, c1, r3, c3, r5, c5, pool):
        super().__init__()
        self.branch1 = ConvBnRelu(inside, c1, kernel_size=1)
        self.branch2 = nn.Sequential(
            ConvBnRelu(inside, r3, kernel_size=1), ConvBnRelu(r3, c3, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            ConvBnRelu(inside, r5, kernel_size=1), ConvBnRelu(r5, c5, kernel_size=3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), ConvBnRelu(inside, pool, kernel_size=1)
        )

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    def __init__(self, inside, width):
        super().__init__()
        self.conv = ConvBnRelu(inside, wide(128, width), kernel_size=1)
        self.fc1 = nn.Linear(16 * wide(128, width), wide(1024, width))
        self.fc2 = nn.Linear(wide(1024, width), CLASSES)


class GoogLeNet(nn.Module):
    def __init__(self, width=1.0, has_auxiliary=False):
        super().__init__()

        def inception(inside, *channels):
            return Inception(sum(wide(c, width) for c in inside), *(wide(c, width) for c in channels))

        first, second = wide(64, width), wide(192, width)
        self.conv1 = ConvBnRelu(3, first, kernel_size=7, stride=2, padding=3)
        self.conv2 = ConvBnRelu(first, first, kernel_size=1)
        self.conv3 = ConvBnRelu(first, second, kernel_size=3, padding=1)
        self.inception3a = inception((192,), 64, 96, 128, 16, 32, 32)
        self.inception3b = inception((64, 128, 32, 32), 128, 128, 192, 32, 96, 64)
        self.inception4a = inception((128, 192, 96, 64), 192, 96, 208, 16, 48, 64)
        self.inception4b = inception((192, 208, 48, 64), 160, 112, 224, 24, 64, 64)
        self.inception4c = inception((160, 224, 64, 64), 128, 128, 256, 24, 64, 64)
        self.inception4d = inception((128, 256, 64, 64), 112, 144, 288, 32, 64, 64)
        self.inception4e = inception((112, 288, 64, 64), 256, 160, 320, 32, 128, 128)
        self.inception5a = inception((256, 320, 128, 128), 256, 160, 320, 32, 128, 128)
        self.inception5b = inception((256, 320, 128, 128), 384, 192, 384, 48, 128, 128)
        if has_auxiliary:
            self.aux1, self.aux2 = Auxiliary(wide(512, width), width), Auxiliary(wide(528, width), width)
        self.fc = nn.Linear(sum(wide(c, width) for c in (384, 384, 128, 128)), CLASSES)

    def forward(self, x):
        x = functional.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self.conv3(self.conv2(x)), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self.inception3b(self.inception3a(x)), 3, 2, ceil_mode=True)
        for block in (self.inception4a, self.inception4b, self.inception4c, self.inception4d, self.inception4e):
            x = block(x)
        x = functional.max_pool2d(x, 2, 2, ceil_mode=True)
        return self.fc(self.inception5b(self.inception5a(x)).mean((2, 3)))


class Block(nn.Module):
    """torchvision's BasicBlock, or its Bottleneck with the stride on conv2."""

    def __init__(self, inside, planes, *, is_bottleneck, stride=1, dilation=1):
        super().__init__()
        outside = 4 * planes if is_bottleneck else planes
        three = {"kernel_size": 3, "padding": dilation, "dilation": dilation, "bias": False}
        if is_bottleneck:
            self.conv1 = nn.Conv2d(inside, planes, 1, bias=False)
            self.conv2 = nn.Conv2d(planes, planes, stride=stride, **three)
            self.conv3, self.bn3 = nn.Conv2d(planes, outside, 1, bias=False), nn.BatchNorm2d(outside)
        else:
            self.conv1 = nn.Conv2d(inside, planes, stride=stride, **three)
            self.conv2 = nn.Conv2d(planes, planes, **three)
        self.bn1, self.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "conv3"):
            y = self.bn3(self.conv3(functional.relu(y)))
        return functional.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(nn.Module):
    """dilate: which of layer2, layer3 and layer4 dilate instead of striding."""

    def __init__(self, counts, *, is_bottleneck, width=1.0, dilate=(False, False, False), has_fc=True):
        super().__init__()
        self.inside, self.dilation, self.is_bottleneck = wide(64, width), 1, is_bottleneck
        self.conv1, self.bn1 = nn.Conv2d(3, self.inside, 7, 2, 3, bias=False), nn.BatchNorm2d(self.inside)
        planes = [wide(channels, width) for channels in (64, 128, 256, 512)]
        self.layer1 = self.layer(planes[0], counts[0], 1, False)
        self.layer2 = self.layer(planes[1], counts[1], 2, dilate[0])
        self.layer3 = self.layer(planes[2], counts[2], 2, dilate[1])
        self.layer4 = self.layer(planes[3], counts[3], 2, dilate[2])
        if has_fc:
            self.fc = nn.Linear(self.inside, CLASSES)

    def layer(self, planes, count, stride, dilate):
        before = self.dilation
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        kind = {"is_bottleneck": self.is_bottleneck}
        blocks = [Block(self.inside, planes, stride=stride, dilation=before, **kind)]
        self.inside = 4 * planes if self.is_bottleneck else planes
        blocks += [Block(self.inside, planes, dilation=self.dilation, **kind) for _ in range(1, count)]
        return nn.Sequential(*blocks)

    def last_two(self, x):
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)

    def forward(self, x):
        return self.fc(self.last_two(x)[1].mean((2, 3)))


class SegmentationFCN(nn.Module):
    """torchvision's fcn_resnet50 and fcn_resnet101."""

    def __init__(self, counts, width=1.0, has_auxiliary=True):
        super().__init__()
        self.backbone = ResNet(counts, is_bottleneck=True, width=width, dilate=(False, True, True), has_fc=False)
        self.classifier = self.head(wide(512, width) * 4)
        if has_auxiliary:
            self.aux_classifier = self.head(wide(256, width) * 4)

    def head(self, inside):
        inner = inside // 4
        return nn.Sequential(
            nn.Conv2d(inside, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(inner, 21, 1),
        )

    def forward(self, x):
        third, fourth = self.backbone.last_two(x)
        scores = [self.classifier(fourth)] + ([self.aux_classifier(third)] if hasattr(self, "aux_classifier") else [])
        return [functional.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False) for y in scores]


class PytorchFCN(nn.Module):
    """pytorch-fcn's FCN32s, FCN16s and FCN8s; its deconvolutions are frozen at bilinear interpolation."""

    def __init__(self, step, kernel, width=1.0, classes=21):
        super().__init__()
        self.step, inside = step, 3
        for stage, (channels, count) in enumerate(zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3)), 1):
            for index in range(1, count + 1):
                border = 100 if (stage, index) == (1, 1) else 1
                setattr(self, f"conv{stage}_{index}", nn.Conv2d(inside, wide(channels, width), 3, padding=border))
                inside = wide(channels, width)
        full = wide(4096, width)
        self.fc6, self.fc7 = nn.Conv2d(inside, full, 7), nn.Conv2d(full, full, 1)
        self.score_fr = nn.Conv2d(full, classes, 1)
        if step <= 16:
            self.upscore2, self.score_pool4 = kernel(classes, 4, 2), nn.Conv2d(wide(512, width), classes, 1)
        if step == 8:
            self.upscore_pool4, self.score_pool3 = kernel(classes, 4, 2), nn.Conv2d(wide(256, width), classes, 1)
        self.last = "upscore" if step == 32 else f"upscore{step}"
        setattr(self, self.last, kernel(classes, 2 * step, step))

    def forward(self, x):
        pools, y = {}, x
        for stage, count in enumerate((2, 2, 3, 3, 3), 1):
            for index in range(1, count + 1):
                y = functional.relu(getattr(self, f"conv{stage}_{index}")(y))
            y = pools[stage] = functional.max_pool2d(y, 2, 2, ceil_mode=True)
        y = self.score_fr(functional.relu(self.fc7(functional.relu(self.fc6(y)))))
        if self.step <= 16:
            y = self.upscore2(y)
            y = y + self.score_pool4(pools[4])[:, :, 5 : 5 + y.shape[2], 5 : 5 + y.shape[3]]
        if self.step == 8:
            y = self.upscore_pool4(y)
            y = y + self.score_pool3(pools[3])[:, :, 9 : 9 + y.shape[2], 9 : 9 + y.shape[3]]
        cut = {32: 19, 16: 27, 8: 31}[self.step]
        return getattr(self, self.last)(y)[:, :, cut : cut + x.shape[2], cut : cut + x.shape[3]]


def classifier(name, width=1.0, **options):
    """torchvision's classifier `name` with random weights."""
    if name == "alexnet":
        return AlexNet(width)
    if name == "googlenet":
        return GoogLeNet(width, **options)
    if name.startswith("vgg"):
        return VGG({"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}[name], width)
    counts = {"resnet18": (2, 2, 2, 2), "resnet101": (3, 4, 23, 3)}.get(name, (3, 4, 6, 3))
    return ResNet(counts, is_bottleneck=name in ("resnet50", "resnet101"), width=width)


def torchvision_fcn(name, width=1.0, has_auxiliary=True):
    """torchvision's fcn_resnet50 or fcn_resnet101, 21 classes, with random weights."""
    return SegmentationFCN({"fcn_resnet50": (3, 4, 6, 3), "fcn_resnet101": (3, 4, 23, 3)}[name], width, has_auxiliary)


def randomised(network):
    """The network in evaluation mode, with statistics that batch norms of trained ones have: not 0 and 1."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.0)
            nn.init.normal_(layer.bias, std=0.1)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return network.eval()


def lite0_logits(state, x):
    """(N, 1000) logits of EfficientNet-Lite0 from its published state dict, all layers with TensorFlow's padding."""

    def convolved(x, name, step=1, groups=1):
        weight = state[f"{name}.weight"]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // step) - 1) * step + weight.shape[2] - side, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, pads), weight, stride=step, groups=groups)

    def normed(x, name):
        of = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *of, eps=1e-3)

    x = functional.relu6(normed(convolved(x, "_conv_stem", 2), "_bn0"))
    steps = {1: 2, 3: 2, 5: 2, 11: 2}
    for index in range(16):
        name, y = f"_blocks.{index}", x
        if f"{name}._expand_conv.weight" in state:
            y = functional.relu6(normed(convolved(y, f"{name}._expand_conv"), f"{name}._bn0"))
        y = convolved(y, f"{name}._depthwise_conv", steps.get(index, 1), groups=y.shape[1])
        y = normed(convolved(functional.relu6(normed(y, f"{name}._bn1")), f"{name}._project_conv"), f"{name}._bn2")
        x = x + y if x.shape == y.shape else y
    x = functional.relu6(normed(convolved(x, "_conv_head"), "_bn1"))
    return functional.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])
