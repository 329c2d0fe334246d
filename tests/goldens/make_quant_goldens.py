#!/usr/bin/python3
"""Writes tests/goldens/quant/TYPE.bin: random blocks of each storage type and the weights they decode to.

Each file: u32 number of blocks, the blocks, then the weights as float32; little-endian. The decoders here are written
from the formats' description in numpy, apart from the C++ ones. Scales include zero, the smallest and largest
subnormal, the smallest and largest normal half and their negatives. Needs Debian's python3-numpy.

  tests/goldens/make_quant_goldens.py        writes the files; the same bytes each time
"""
import pathlib
import struct

import numpy as np

F32 = np.float32
EXTREME_HALVES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00]


def half(blocks, at):
    """The half at byte `at` of each block, [n, 1] float32."""
    return np.ascontiguousarray(blocks[:, at:at + 2]).view("<f2").astype(F32)


def nibbles(b):
    """Low nibbles, then high nibbles, of each row of bytes."""
    return np.concatenate([b & 15, b >> 4], axis=1).astype(np.int32)


def fifth_bits(b):
    """Bit i of four bytes is weight i's fifth bit."""
    return np.unpackbits(b, axis=1, bitorder="little").astype(np.int32) << 4


def decode_q4_0(b):
    return (nibbles(b[:, 2:]) - 8).astype(F32) * half(b, 0)


def decode_q4_1(b):
    return nibbles(b[:, 4:]).astype(F32) * half(b, 0) + half(b, 2)


def decode_q5_0(b):
    return ((nibbles(b[:, 6:]) | fifth_bits(b[:, 2:6])) - 16).astype(F32) * half(b, 0)


def decode_q5_1(b):
    return (nibbles(b[:, 8:]) | fifth_bits(b[:, 4:8])).astype(F32) * half(b, 0) + half(b, 2)


def decode_q8_0(b):
    return np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(F32) * half(b, 0)


def scales_and_mins(b):
    """Eight 6-bit scales and eight 6-bit mins out of the 12 bytes at 4."""
    s = b[:, 4:16].astype(np.int32)
    low, high = s[:, 0:8] & 63, s[:, 0:8] >> 6
    scales = np.concatenate([low[:, 0:4], s[:, 8:12] & 15 | high[:, 0:4] << 4], axis=1)
    mins = np.concatenate([low[:, 4:8], s[:, 8:12] >> 4 | high[:, 4:8] << 4], axis=1)
    return scales.astype(F32)[:, :, None], mins.astype(F32)[:, :, None]


def k_nibbles(b):
    """128 bytes as 8 groups of 32: bytes 32g to 32g + 31 hold group 2g low and group 2g + 1 high."""
    pairs = b.reshape(-1, 4, 1, 32)
    return np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32).astype(np.int32)


def decode_k(b, q):
    scale, low = scales_and_mins(b)
    weights = (half(b, 0)[:, :, None] * scale) * q.astype(F32) - half(b, 2)[:, :, None] * low
    return weights.reshape(-1, 256)


def decode_q4_k(b):
    return decode_k(b, k_nibbles(b[:, 16:]))


def decode_q5_k(b):
    fifth = np.stack([b[:, 16:48] >> g & 1 for g in range(8)], axis=1).astype(np.int32) << 4
    return decode_k(b, k_nibbles(b[:, 48:]) | fifth)


def decode_q6_k(b):
    low = b[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    high = b[:, 128:192].reshape(-1, 2, 1, 32)
    high = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    q = (low | high << 4).astype(np.int32).reshape(-1, 16, 16) - 32
    scales = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(F32)[:, :, None]
    return (half(b, 208)[:, :, None] * scales * q.astype(F32)).reshape(-1, 256)


def decode_f32(b):
    return b.view("<f4")


def decode_f16(b):
    """By hand: numpy leaves a signalling NaN as it is, where the instruction makes it quiet."""
    bits = b.view("<u2").astype(np.uint32)
    sign, exponent, mantissa = bits >> 15, bits >> 10 & 31, bits & 1023
    with np.errstate(over="ignore"):
        normal = np.ldexp((1024 + mantissa).astype(np.float64), exponent.astype(np.int64) - 25)
    value = np.where(exponent == 0, mantissa * 2.0**-24, normal).astype(F32).view(np.uint32)
    special = 0x7F800000 | mantissa << 13 | np.where(mantissa != 0, 0x400000, 0)
    return (np.where(exponent == 31, special, value) | sign << 31).astype(np.uint32).view(F32)


def decode_bf16(b):
    return (b.view("<u2").astype(np.uint32) << 16).view(F32)


# name: decoder, bytes a block, where its halves are, blocks in the golden file
TYPES = {
    "f32": (decode_f32, 4, [], 256),
    "f16": (decode_f16, 2, [0], 512),
    "bf16": (decode_bf16, 2, [], 512),
    "q4_0": (decode_q4_0, 18, [0], 24),
    "q4_1": (decode_q4_1, 20, [0, 2], 24),
    "q5_0": (decode_q5_0, 22, [0], 24),
    "q5_1": (decode_q5_1, 24, [0, 2], 24),
    "q8_0": (decode_q8_0, 34, [0], 24),
    "q4_k": (decode_q4_k, 144, [0, 2], 6),
    "q5_k": (decode_q5_k, 176, [0, 2], 6),
    "q6_k": (decode_q6_k, 210, [208], 6),
}


def make_blocks(rng, size, halves, n):
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in halves:
        scales = rng.integers(0, 0x10000, n).astype("<u2")
        if size > 2:  # scales are finite; a lone f16 may be anything
            scales = np.where((scales & 0x7C00) == 0x7C00, scales & 0x83FF, scales).astype("<u2")
        chosen = rng.permutation(EXTREME_HALVES)[: n * 2 // 3]
        scales[: len(chosen)] = chosen
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(n, 2)
    return blocks


def main():
    out = pathlib.Path(__file__).parent / "quant"
    out.mkdir(exist_ok=True)
    for name, (decode, size, halves, n) in TYPES.items():
        blocks = make_blocks(np.random.default_rng(list(name.encode())), size, halves, n)
        weights = np.ascontiguousarray(decode(blocks), dtype="<f4")
        (out / f"{name}.bin").write_bytes(struct.pack("<I", n) + blocks.tobytes() + weights.tobytes())


if __name__ == "__main__":
    main()
