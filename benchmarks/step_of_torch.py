"""PyTorch's side of `benchmarks.step_speed`. Its Python has PyTorch, and does not have this package."""

from __future__ import annotations

import copy
import sys

import torch
from on_request import repeat_on_request
from torch import nn
from torch.nn import functional as F

# By the number of dimensions.
LAYERS = {
    2: (nn.Conv2d, nn.BatchNorm2d, nn.ConvTranspose2d, F.max_pool2d),
    3: (nn.Conv3d, nn.BatchNorm3d, nn.ConvTranspose3d, F.max_pool3d),
}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def widths(width: int, dimensions: int, levels: int = 5) -> list[int]:
    """Channels by level. As in nnU-Net, networks for patches have at most ten times those of the first level."""
    return [width * min(2**level, 10 if dimensions == 3 else 2**level) for level in range(levels)]


class UNet(nn.Module):
    """The same five levels: two convolutions without bias, batch normalisation, ReLU; transposed convolutions up."""

    def __init__(self, width: int, dimensions: int = 2, levels: int = 5):
        super().__init__()
        self.convolution, self.norm, self.transposed, self.pool = LAYERS[dimensions]
        channels = widths(width, dimensions, levels)
        self.down = nn.ModuleList(self._pair(before, after) for before, after in zip([1, *channels], channels))
        rising = list(zip(channels[::-1], channels[-2::-1]))
        self.up = nn.ModuleList(self.transposed(below, own, 2, 2) for below, own in rising)
        self.join = nn.ModuleList(self._pair(2 * own, own) for _, own in rising)
        self.head = self.convolution(width, 1, 1)

    def _pair(self, before: int, after: int) -> nn.Sequential:
        parts = []
        for channels in (before, after):
            parts += [self.convolution(channels, after, 3, padding=1, bias=False)]
            parts += [self.norm(after, eps=1e-5, momentum=0.1), nn.ReLU(inplace=True)]
        return nn.Sequential(*parts)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x, 2) if level else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1]):
            x = join(torch.cat([skip, up(x)], dim=1))
        return self.head(x)


def network(kind: str, width: int, dimensions: int = 2) -> nn.Module:
    """This package's U-Net in PyTorch, or MONAI's U-Net of the same widths."""
    if kind == "own":
        return UNet(width, dimensions)
    from monai.networks.nets import BasicUNet

    features = (*widths(width, dimensions), width)
    return BasicUNet(
        dimensions, 1, 1, features=features, act=("ReLU", {"inplace": True}), norm=("batch", {"eps": 1e-5}), bias=False
    )


def segmentation_loss(p, y):
    """10 x cross entropy + 7 x Dice over the batch."""
    entropy = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
    dice = (2 * (p * y).sum() + 1e-6) / ((p * p).sum() + (y * y).sum() + 1e-6)
    return 10 * entropy + 7 * (1 - dice)


def asc_loss(first, second, patients):
    """ASC loss: maps of other patients are negatives. Empty maps are neither negatives nor anchors."""
    maps = torch.cat([first, second])
    count = len(maps)
    flat = maps.flatten(1)
    products, squares = flat @ flat.T, (flat * flat).sum(1)
    scores = (2 * products + 1e-6) / (squares[:, None] + squares[None] + 1e-6)
    owner = torch.cat([patients, patients])
    sees = flat.amax(1) >= 0.5
    partner = (torch.arange(count) + count // 2) % count
    negative = (owner[:, None] != owner[None]) & sees[None]
    anchors = (sees | sees[partner]).float()
    positive = scores[torch.arange(count), partner]
    against = torch.where(negative, scores - positive[:, None], -1e9)
    losses = torch.logsumexp(torch.cat([torch.zeros(count, 1), against], 1), 1)
    return (losses * anchors).sum() / anchors.sum().clamp(min=1)


def main(size: str, width: int, labelled: int, unlabelled: int, precision: str, kind: str, layout: str) -> None:
    """Runs a few steps, prints a line, and then runs steps on request."""
    torch.manual_seed(0)
    spatial = (int(size),) * 2 if size.isdigit() else tuple(map(int, size.split(",")))
    form = CHANNELS_LAST[len(spatial)] if layout == "channels_last" else torch.contiguous_format
    students = [network(kind, width, len(spatial)).to(memory_format=form).train() for _ in range(2)]
    averages = [copy.deepcopy(student).requires_grad_(False) for student in students]
    optimizers = [torch.optim.Adam(student.parameters(), lr=0.006, fused=True) for student in students]
    shape = (labelled + unlabelled, 1, *spatial)
    images = [torch.randn(shape).to(memory_format=form) for _ in students]
    label = (torch.rand((labelled, *shape[1:])) > 0.9).float()
    patients = torch.arange(unlabelled) // 2

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = [student(image) for student, image in zip(students, images)]
        maps = [torch.sigmoid(each.float()).clamp(1e-7, 1 - 1e-7) for each in logits]
        loss = sum(segmentation_loss(p[:labelled], label) for p in maps)
        loss = loss + 5 * asc_loss(*(p[labelled:] for p in maps), patients)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            for average, student in zip(averages, students):
                pairs = zip(average.state_dict().values(), student.state_dict().values())
                own, goals = zip(*((a, g) for a, g in pairs if a.is_floating_point()))
                torch._foreach_lerp_(list(own), list(goals), 0.01)
        return loss.item()

    for _ in range(3):
        step()
    count = sum(parameter.numel() for parameter in students[0].parameters())
    repeat_on_request({"engine": f"PyTorch {torch.__version__}", "parameters": count}, step)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:8])
