"""Tensors as bytes: the binary tensor data extension, little-endian and without gaps, after the JSON of a body."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quarterdeck.registry.values import shown
from quarterdeck.serving.columns import FLOATS, BadInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXTENSION = "binary_tensor_data"
LENGTH_HEADER = "inference-header-content-length"
SIZE = "binary_data_size"
_LENGTH = struct.Struct("<I")
# numpy has no BF16: it is the upper half of an FP32.
_TYPES = {
    "BOOL": "u1",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BF16": "<u2",
}


def split(body: bytes, length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a body and the bytes after it, where `length` is what the header says of the JSON's length.

    Raises:
        BadInput: it is no number of bytes, or more than there are.
    """
    if length is None:
        return body, memoryview(b"")
    if not (length.isascii() and length.isdecimal() and len(length) < 16):
        raise BadInput(f"The header {LENGTH_HEADER} has {shown(length)}: send the number of bytes of the JSON.")
    size = int(length)
    if size > len(body):
        raise BadInput(f"The header {LENGTH_HEADER} says {size} bytes of JSON, and the body has {len(body)}.")
    return body[:size], memoryview(body)[size:]


class Tail:
    """The bytes after the JSON, taken tensor by tensor in the order of the JSON."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._taken = 0

    def take(self, name: str, datatype: str, size: Any) -> list[Any]:
        """The next `size` bytes as the values of tensor `name`; None is a missing value, which NaN stands for.

        Raises:
            BadInput: there are fewer, or they are no values of `datatype`.
        """
        if type(size) is not int or size < 0:
            raise BadInput(f"Tensor '{name}' has the {SIZE} {shown(size)}: send the number of its bytes.")
        end = self._taken + size
        if end > len(self._content):
            raise BadInput(
                f"Tensor '{name}' has the {SIZE} {size}, and {len(self._content) - self._taken} bytes are left after "
                f"the JSON, whose length the header {LENGTH_HEADER} says."
            )
        part, self._taken = self._content[self._taken : end], end
        return decode(name, datatype, part)

    def end(self) -> None:
        """Raises BadInput: bytes are left that no tensor has taken."""
        left = len(self._content) - self._taken
        if left:
            raise BadInput(f"{left} bytes follow the JSON that are no tensor's: say {SIZE} in the tensor's parameters.")


def decode(name: str, datatype: str, content: memoryview) -> list[Any]:
    """The bytes of tensor `name` as plain values; NaN, which JSON has as null, is None.

    Raises:
        BadInput: they are no values of `datatype`.
    """
    if datatype == "BYTES":
        return _texts(name, content)
    import numpy as np

    dtype = np.dtype(_TYPES[datatype])
    if len(content) % dtype.itemsize:
        raise BadInput(f"Tensor '{name}' has {len(content)} bytes, and a value of {datatype} has {dtype.itemsize}.")
    values = np.frombuffer(content, dtype)
    if datatype == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    if datatype in FLOATS:
        return _floats(name, values)
    if datatype == "BOOL":
        if values.max(initial=0) > 1:
            raise BadInput(f"Tensor '{name}' has a byte that is neither 0 nor 1, and its datatype is BOOL.")
        values = values.astype(bool)
    return list(values.tolist())


def _floats(name: str, values: NDArray[Any]) -> list[Any]:
    import numpy as np

    finite = np.isfinite(values)
    if finite.all():
        return list(values.tolist())
    row = int(np.isinf(values).argmax())
    if np.isinf(values[row]):
        raise BadInput(f"Tensor '{name}' has {values[row]} at {row}: send finite numbers, or NaN for a missing value.")
    return [value if number else None for value, number in zip(values.tolist(), finite.tolist(), strict=True)]


def _texts(name: str, content: memoryview) -> list[str]:
    texts: list[str] = []
    place = 0
    while place < len(content):
        start = place + _LENGTH.size
        if start > len(content):
            raise BadInput(f"Tensor '{name}' ends within the length of its text {len(texts)}: 4 bytes, little-endian.")
        (length,) = _LENGTH.unpack_from(content, place)
        place = start + length
        if place > len(content):
            raise BadInput(
                f"Tensor '{name}' says that its text {len(texts)} has {length} bytes, and {len(content) - start} are "
                "left of it."
            )
        try:
            texts.append(str(content[start:place], "utf-8"))
        except UnicodeDecodeError:
            raise BadInput(f"Tensor '{name}': its text {len(texts)} is not UTF-8.") from None
    return texts


def encode(datatype: str, values: Sequence[Any]) -> bytes:
    """Plain values of `datatype`, none of them missing, as bytes."""
    if datatype == "BYTES":
        return b"".join(_with_length(str(value).encode()) for value in values)
    import numpy as np

    if datatype == "BF16":
        return (np.array(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.array(values, _TYPES[datatype]).tobytes()


def _with_length(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content
