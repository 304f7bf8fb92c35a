"""Independent random streams derived from one seed."""

from __future__ import annotations

import hashlib
import json

import torch


def derive(seed: int, *parts: str | int) -> int:
    """A seed for the stream named by ``parts``: 63 bits, the same on every machine and in every version.

    Streams of different names are independent: drawing more from one never shifts another.
    """
    name = json.dumps([seed, *parts]).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 1


def generator(seed: int, *parts: str | int) -> torch.Generator:
    """A CPU generator for the stream named by ``parts``."""
    return torch.Generator().manual_seed(derive(seed, *parts))
