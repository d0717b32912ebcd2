"""Codes of 2 to 8 bits, stored without a wasted bit.

Code i occupies the bits i·b … i·b + b − 1 of the stream, least significant first; the last byte is
filled up with zeros. Signed codes are stored as code + 2^(b−1).
"""

from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptq.errors import CheckpointError

_CHUNK = 8 << 17  # a multiple of 8, so that chunks end on whole bytes


def packed_size(count: int, bits: int) -> int:
    """Return the bytes that ``count`` codes take."""
    return -(-count * bits // 8)


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """Return int8 or uint8 codes of any shape as a stream of bytes, uint8 (packed_size,)."""
    offset = 2 ** (bits - 1) if codes.dtype == torch.int8 else 0
    unsigned = (codes.detach().cpu().to(torch.int16) + offset).to(torch.uint8).reshape(-1)
    if bits == 8:
        return unsigned
    values = unsigned.numpy()
    chunks = [_pack(values[i : i + _CHUNK], bits) for i in range(0, len(values), _CHUNK)]
    return torch.from_numpy(np.concatenate(chunks))


def unpack_codes(packed: Tensor, bits: int, shape: tuple[int, ...], *, signed: bool) -> Tensor:
    """Undo ``pack_codes``; the result is int8 if ``signed``, else uint8.

    Raises:
        CheckpointError: when the stream has not the length that the shape needs.
    """
    count = prod(shape)
    if packed.dtype != torch.uint8 or packed.numel() != packed_size(count, bits):
        raise CheckpointError(
            f"{packed.numel()} bytes are not {count} codes of {bits} bits; save the model again."
        )
    values = packed if bits == 8 else torch.from_numpy(_unpack(packed.numpy(), bits, count))
    if signed:
        values = (values.to(torch.int16) - 2 ** (bits - 1)).to(torch.int8)
    codes: Tensor = values.clone().reshape(shape)
    return codes


def _pack(values: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    table = np.unpackbits(values[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(table.reshape(-1), bitorder="little")


def _unpack(packed: npt.NDArray[np.uint8], bits: int, count: int) -> npt.NDArray[np.uint8]:
    values = np.empty(count, dtype=np.uint8)
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        begin = start * bits // 8
        stream = packed[begin : begin + packed_size(size, bits)]
        table = np.unpackbits(stream, count=size * bits, bitorder="little").reshape(size, bits)
        values[start : start + size] = np.packbits(table, axis=1, bitorder="little")[:, 0]
    return values
