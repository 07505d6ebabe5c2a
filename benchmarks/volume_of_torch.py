"""PyTorch's side of `benchmarks.volume_speed`. Its Python has PyTorch and MONAI, and does not have this package."""

from __future__ import annotations

import sys

import torch
from monai.inferers import sliding_window_inference
from on_request import repeat_on_request
from step_of_torch import CHANNELS_LAST, network


def main(shape: tuple[int, ...], patch: tuple[int, ...], width: int, batch_size: int, kind: str, layout: str) -> None:
    """Builds a network, prints a line, and then segments a volume of `shape` on request."""
    torch.manual_seed(0)
    form = CHANNELS_LAST[3] if layout == "channels_last" else torch.contiguous_format
    model = network(kind, width, 3).to(memory_format=form).eval()
    volume = torch.randn((1, 1, *shape))
    count = 0

    def probabilities(batch):
        nonlocal count
        count += len(batch)
        return torch.sigmoid(model(batch.to(memory_format=form)))

    def segment() -> None:
        with torch.inference_mode():
            answer = sliding_window_inference(volume, patch, batch_size, probabilities, overlap=0.5, mode="gaussian")
        assert answer.dtype == torch.float32 and answer.shape == volume.shape

    segment()
    repeat_on_request({"engine": f"PyTorch {torch.__version__}", "patches": count}, segment)


if __name__ == "__main__":
    sizes = [tuple(map(int, text.split(","))) for text in sys.argv[1:3]]
    main(*sizes, *map(int, sys.argv[3:5]), *sys.argv[5:7])
