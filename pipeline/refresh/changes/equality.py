"""Whether the values of two columns are the same, row by row, bit for bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bools = npt.NDArray[np.bool_]


def differ(one: pa.Array, other: pa.Array) -> Bools:
    """bool [N]: where two arrays [N] of one type hold different values.

    Null is the same as null. Floats are compared by their bits, so NaN is the same as that NaN, and
    0.0 another value than -0.0.
    """
    kind = one.type
    if pa.types.is_dictionary(kind):
        return differ(one.cast(kind.value_type), other.cast(kind.value_type))
    found: Bools = np.asarray(_nulls(one) != _nulls(other))
    if pa.types.is_null(kind):
        return found
    if pa.types.is_struct(kind):
        for left, right in zip(one.flatten(), other.flatten(), strict=True):
            found |= differ(left, right)
        return found
    if pa.types.is_map(kind):
        one, other = _entries(one), _entries(other)
        kind = one.type
    if _is_list(kind):
        return np.asarray(found | _lists_differ(one, other))
    if pa.types.is_floating(kind):
        return np.asarray(found | (_bits(one) != _bits(other)))
    unequal = pc.fill_null(pc.not_equal(one, other), False)
    return np.asarray(found | unequal.to_numpy(zero_copy_only=False))


def _lists_differ(one: pa.Array, other: pa.Array) -> Bools:
    """Of lists where both are there: another length, or another value somewhere."""
    lengths, others = _lengths(one), _lengths(other)
    found: Bools = np.asarray(lengths != others)
    same = pa.array(~found)
    values, theirs = one.filter(same).flatten(), other.filter(same).flatten()
    lists = np.repeat(np.flatnonzero(~found), lengths[~found])
    found[lists[differ(values, theirs)]] = True
    return found


def _entries(maps: pa.MapArray) -> pa.Array:
    """Lists of key and value, without the guarantee that keys are unique."""
    pair = pa.struct([("key", maps.type.key_type), ("value", maps.type.item_type)])
    return maps.cast(pa.list_(pair))


def _lengths(lists: pa.Array) -> npt.NDArray[np.int64]:
    """int64 [N]; 0 for null."""
    counts = pc.fill_null(pc.list_value_length(lists), 0)
    return np.asarray(counts.to_numpy(zero_copy_only=False), dtype=np.int64)


def _bits(floats: pa.Array) -> npt.NDArray[np.uint64]:
    """The bits of floats, those of 0 for null."""
    width = floats.type.bit_width
    values = np.asarray(pc.fill_null(floats, 0.0).to_numpy(zero_copy_only=False))
    return np.asarray(values.view(f"u{width // 8}"), dtype=np.uint64)


def _nulls(values: pa.Array) -> Bools:
    return np.asarray(values.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
