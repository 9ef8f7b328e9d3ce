"""Labelled images in an archive, a shard or a Parquet file, opened and read as training does it."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random

from fuzzing.mutation import repair_tar, scramble
from fuzzing.target import Target
from ghostclas.data import open_source
from ghostclas.errors import ImageError
from tests.images import encode, photo

_WHEN = (2020, 1, 1, 0, 0, 0)
_CLASSES = ("cat", "狗")


def _photos() -> dict[str, bytes]:
    return {
        f"{name}/{number}.jpg": encode(photo(12, 10, number), "JPEG")
        for name in _CLASSES
        for number in range(2)
    }


def _read(path: Path) -> None:
    source = open_source(path)
    for index in range(len(source.samples)):
        with suppress(ImageError):
            source.read(index)


def _zipped(content: Mapping[str, bytes], how: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _WHEN), data, how)
    return buffer.getvalue()


def _zips(_folder: Path) -> list[bytes]:
    photos = _photos()
    listed = {**photos, "classes.csv": "cat,Katze\n狗,Hund\n".encode()}
    below = {f"all/{split}/{name}": data for split in ("train", "val") for name, data in photos.items()}
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return [*(_zipped(listed, how) for how in methods), _zipped(below, zipfile.ZIP_DEFLATED), _in_gbk(photos)]


def _in_gbk(content: Mapping[str, bytes]) -> bytes:
    """Return an archive as Chinese Windows packs it: names in GBK, none marked as UTF-8."""
    data = _zipped({name.replace("狗", "??"): image for name, image in content.items()}, zipfile.ZIP_STORED)
    return data.replace(b"??", "狗".encode("gbk"))


def _tar(members: Iterable[tuple[str, bytes]], how: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=how) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    # Python fills up to 20 blocks, which would only be more to damage without effect.
    return buffer.getvalue().rstrip(b"\0") + bytes(2048)


def _tars(_folder: Path) -> list[bytes]:
    members = []
    for number, (name, data) in enumerate(_photos().items()):
        key = name.removesuffix(".jpg")
        members += [(name, data), (f"{key}.cls", str(number % 2).encode()), (f"{key}.json", b"{}")]
    long = [(f"{'a' * 120}/{name}", data) for name, data in members]
    named = [(name, b"cat" if name.endswith(".cls") else data) for name, data in members]
    return [_tar(m, how) for m in (members, long, named) for how in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def _mutate_tar(data: bytes, rng: Random) -> bytes:
    changed = scramble(data, rng, [b"1 path=/x\n", b"20 size=99999999\n", b"L", b"K", b"x", b"g", b"S", b"2"])
    return repair_tar(changed) if rng.random() < 0.85 else changed


def _parquets(folder: Path) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    photos = _photos()
    images = [{"bytes": data, "path": name} for name, data in photos.items()]
    labels = [number % 2 for number in range(len(images))]
    column = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    feature = {"image": {"_type": "Image"}, "label": {"names": list(_CLASSES), "_type": "ClassLabel"}}
    described = {"huggingface": json.dumps({"info": {"features": feature}})}
    files = []
    for position, (compression, version) in enumerate((("none", "2.6"), ("snappy", "1.0"), ("zstd", "2.6"))):
        table = pa.table({"image": column, "label": pa.array(labels, pa.int64())})
        if position != 1:
            table = table.replace_schema_metadata(described)
        file = folder / f"{position}.parquet"
        pq.write_table(table, file, compression=compression, version=version, row_group_size=3)
        files.append(file.read_bytes())
    return files


def _mutate_parquet(data: bytes, rng: Random) -> bytes:
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    if rng.random() < 0.7:
        changed = scramble(data[footer:-8], rng, [b"image", b"bytes", b"path", b"label", b"huggingface"])
        return data[:footer] + changed + len(changed).to_bytes(4, "little") + b"PAR1"
    return scramble(data[:footer], rng) + data[footer:] if rng.random() < 0.7 else scramble(data, rng)


ZIP = Target(
    "photos.zip", _zips, lambda data, rng: scramble(data, rng, [b"PK\1\2", b"PK\3\4", b"PK\5\6"]), _read
)
TAR = Target("photos.tar", _tars, _mutate_tar, _read)
PARQUET = Target("photos.parquet", _parquets, _mutate_parquet, _read)
