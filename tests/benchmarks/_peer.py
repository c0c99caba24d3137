"""The network that benchmarks compare with: DeepSpeech2 as published PyTorch recipes have it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Peer(nn.Module):
    """Two 2-D convolutions (11 x 41 and 11 x 21 frames x bins, 32 channels), ``layers`` bidirectional LSTM layers of
    ``width`` whose directions are added up, a linear layer: (batch, frames, bins) and frames (batch,) to logits
    (batch, ceil(frames / 2), characters) and their true numbers."""

    def __init__(self, width: int, characters: int, bins: int, layers: int = 5) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(1, 32, (41, 11), (2, 2), (20, 5), bias=False),
                nn.Conv2d(32, 32, (21, 11), (2, 1), (10, 5), bias=False),
            ]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(32), nn.BatchNorm2d(32)])
        size = 32 * (((bins + 1) // 2 + 1) // 2)
        self.layers = nn.ModuleList(
            [nn.LSTM(size if number == 0 else width, width, bidirectional=True) for number in range(layers)]
        )
        self.between = nn.ModuleList([nn.BatchNorm1d(width) for _ in range(layers)])
        self.last = nn.Linear(width, characters)

    def forward(self, features: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = features.transpose(1, 2).unsqueeze(1)  # (batch, 1, bins, frames)
        lengths = (frames.long() + 1) // 2
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            outputs = torch.clamp(norm(_masked(convolution(outputs), lengths)), 0, 20)
            outputs = _masked(outputs, lengths)
        outputs = outputs.flatten(1, 2).permute(2, 0, 1)  # (frames, batch, units)
        for layer, norm in zip(self.layers, self.between, strict=True):
            packed: Any = pack_padded_sequence(outputs, lengths, enforce_sorted=False)
            outputs, _ = pad_packed_sequence(layer(packed)[0])
            outputs = outputs.unflatten(2, (2, -1)).sum(2)
            outputs = norm(outputs.flatten(0, 1)).unflatten(0, outputs.shape[:2])
        return self.last(outputs).transpose(0, 1).contiguous(), lengths


def _masked(outputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Zeros past each utterance's end, for outputs (batch, channels, bins, frames)."""
    present = torch.arange(outputs.shape[-1])[None, :] < lengths[:, None]
    return outputs * present[:, None, None, :]
