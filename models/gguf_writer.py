"""A small GGUF v3 writer and reader: all that the bundled model and the test fixtures need (F32, F16, Q8_0).

Layout: 'GGUF', u32 version, u64 tensor count, u64 key count, the keys, the tensor descriptions, then the data,
every tensor padded to 32 bytes. Dimensions are written innermost first, so a numpy shape is reversed.
"""
import struct

import numpy as np

ALIGN = 32
# Value types of metadata.
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FORMAT = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", I64: "<q", F64: "<d"}
# Tensor types: name -> (id, weights a block, bytes a block).
TYPES = {"f32": (0, 1, 4), "f16": (1, 1, 2), "q8_0": (8, 32, 34)}


def q8_0(x):
    """Blocks of 32: a half scale, then 32 signed bytes. Rounds half away from zero, as ggml's reference does."""
    b = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    d = np.abs(b).max(1) / np.float32(127)
    inverse = np.where(d > 0, 1 / np.where(d > 0, d, 1), 0).astype(np.float32)
    v = b * inverse[:, None]
    q = np.trunc(v + np.copysign(np.float32(0.5), v)).astype(np.int8)
    out = np.empty((len(b), 34), np.uint8)
    out[:, :2] = d.astype("<f2").view(np.uint8).reshape(-1, 2)
    out[:, 2:] = q.view(np.uint8)
    return out.tobytes()


def encode(x, kind):
    if kind == "f32":
        return np.ascontiguousarray(x, "<f4").tobytes()
    if kind == "f16":
        return np.ascontiguousarray(x, "<f2").tobytes()
    return q8_0(x)


def _string(s):
    b = s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def _value(kind, v):
    return _string(v) if kind == STR else struct.pack(FORMAT[kind], v)


class Writer:
    def __init__(self):
        self.keys, self.tensors = [], []

    def key(self, name, kind, value):
        self.keys.append(_string(name) + struct.pack("<I", kind) + _value(kind, value))

    def array(self, name, kind, values):
        head = _string(name) + struct.pack("<IIQ", ARR, kind, len(values))
        self.keys.append(head + b"".join(_value(kind, v) for v in values))

    def tensor(self, name, x, kind):
        self.tensors.append((name, x.shape, kind, encode(x, kind)))

    def save(self, path):
        with open(path, "wb") as f:
            f.write(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys)))
            for k in self.keys:
                f.write(k)
            offset = 0
            for name, shape, kind, data in self.tensors:
                f.write(_string(name) + struct.pack("<I", len(shape)))
                f.write(b"".join(struct.pack("<Q", d) for d in reversed(shape)))
                f.write(struct.pack("<IQ", TYPES[kind][0], offset))
                offset += len(data) + -len(data) % ALIGN
            f.write(b"\0" * (-f.tell() % ALIGN))
            for _, _, _, data in self.tensors:
                f.write(data + b"\0" * (-len(data) % ALIGN))


def read(path):
    """(metadata, tensors) of a file that Writer made; tensors come back as float32. For our own files: trusts them."""
    b = open(path, "rb").read()
    at = 8

    def take(fmt):
        nonlocal at
        v = struct.unpack_from(fmt, b, at)
        at += struct.calcsize(fmt)
        return v if len(v) > 1 else v[0]

    def text():
        nonlocal at
        n = take("<Q")
        at += n
        return b[at - n:at].decode("utf-8")

    def value(kind):
        if kind == STR:
            return text()
        if kind == ARR:
            inner, n = take("<IQ")
            return [value(inner) for _ in range(n)]
        return take(FORMAT[kind])

    n_tensors, n_keys = take("<QQ")
    meta = {}
    for _ in range(n_keys):
        name = text()
        meta[name] = value(take("<I"))
    infos = []
    for _ in range(n_tensors):
        name, n_dims = text(), take("<I")
        dims = [take("<Q") for _ in range(n_dims)]
        infos.append((name, dims[::-1], *take("<IQ")))
    base = at + -at % ALIGN
    tensors = {}
    for name, shape, kind, offset in infos:
        n = int(np.prod(shape))
        if kind == TYPES["q8_0"][0]:
            blocks = np.frombuffer(b, np.uint8, n // 32 * 34, base + offset).reshape(-1, 34)
            d = blocks[:, :2].copy().view("<f2").astype(np.float32)
            x = blocks[:, 2:].view(np.int8).astype(np.float32) * d
        else:
            x = np.frombuffer(b, "<f4" if kind == 0 else "<f2", n, base + offset).astype(np.float32)
        tensors[name] = x.reshape(shape)
    return meta, tensors


def permute_rope(w, heads):
    """Rows of Q or K from the rotate-half order (Hugging Face) to the interleaved order that GGUF's llama uses.

    Within a head, row i of the first half and row i of the second half become neighbours 2i and 2i + 1.
    """
    rows = w.shape[0] // heads
    return w.reshape(heads, 2, rows // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def unpermute_rope(w, heads):
    rows = w.shape[0] // heads
    return w.reshape(heads, rows // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)
