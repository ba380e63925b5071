"""The order of sort keys that makes the embedded store's Query fast: it must forget nothing and invent nothing."""

import random
from typing import Any

import pytest

from deploy.local.ministack_query import Partition, Partitions


@pytest.mark.parametrize("seed", range(20))
def test_a_range_is_what_a_scan_would_find(seed: int) -> None:
    rng = random.Random(seed)
    partitions = Partitions()
    bucket: dict[str, Any] = {}
    partitions.of(bucket)
    for _ in range(400):
        key = f"k{rng.randrange(60):02}"
        if rng.random() < 0.5:
            if key not in bucket:
                bucket[key] = 1
                partitions.added(bucket, key)
        elif key in bucket:
            del bucket[key]
            partitions.removed(bucket)
        if rng.random() < 0.2:
            low, high = sorted(f"k{rng.randrange(60):02}" for _ in range(2))
            backwards, most = rng.random() < 0.5, rng.choice((3, 1000))
            expected = sorted((k for k in bucket if low <= k <= high), reverse=backwards)[:most]
            assert partitions.of(bucket).between(low, high, bucket, most, backwards) == expected


def test_open_ends() -> None:
    bucket = {"b": 1, "a": 1, "c": 1}
    partition = Partition(bucket)
    assert partition.between(None, None, bucket, 9, False) == ["a", "b", "c"]
    assert partition.between("b", None, bucket, 9, True) == ["c", "b"]
    assert partition.between(None, "b", bucket, 1, False) == ["a"]
    assert partition.between("d", "a", bucket, 9, False) == []


def test_an_emptied_partition_is_forgotten() -> None:
    partitions = Partitions()
    bucket = {"a": 1}
    first = partitions.of(bucket)
    bucket.clear()
    partitions.removed(bucket)
    bucket["b"] = 1
    assert partitions.of(bucket) is not first
    assert partitions.of(bucket).between(None, None, bucket, 9, False) == ["b"]
