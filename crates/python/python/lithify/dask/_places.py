"""Where a store grows: a folder of a file system that all workers see, or a Zarr store of objects.

Until it is finished, a store has no name that a reader would find (a folder), or no metadata at its root (objects). Beside its chunks lie
notes: what was decided, and a record of each shard that is done. They are found again by the job's key, which stands for everything
that shapes the result.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import uuid
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from .. import _native

if TYPE_CHECKING:
    from zarr.abc.store import Store

_KEY = re.compile("[0-9a-f]{16}")


class Place(Protocol):
    """What workers and the driver do with it. Values appear whole or not at all."""

    #: Before the keys of the store's own values.
    data: str
    #: Before the keys of notes.
    notes: str

    def put(self, key: str, value: bytes) -> None: ...
    def get(self, key: str) -> bytes | None: ...
    def get_many(self, keys: list[str]) -> list[bytes | None]: ...
    def sizes(self, keys: list[str]) -> list[int | None]: ...
    def keys(self, prefix: str) -> list[str]: ...
    def delete(self, key: str) -> None: ...

    def skeleton_at(self) -> str:
        """A local folder that does not exist, for what the driver adds to the store."""

    def finish(self, skeleton: str) -> str:
        """Adds the skeleton, the root's metadata last, and gives the store its name, which is returned."""


def begin(store: Any, key: str, force: bool, has_client: bool) -> Place:
    """The place of a store; what an earlier job of the same key left is kept, what other jobs left is removed."""
    if isinstance(store, os.PathLike) or (isinstance(store, str) and "://" not in store):
        return Folder(os.fspath(store), key, force)
    if isinstance(store, str) and store.startswith("file://"):
        return Folder(store.removeprefix("file://"), key, force)
    from zarr import storage

    if isinstance(store, str):
        store = storage.FsspecStore.from_url(store)
    if isinstance(store, storage.LocalStore):
        return Folder(os.fspath(store.root), key, force)
    if isinstance(store, storage.ZipStore):
        raise ValueError("several workers cannot write one zip file: give a .zarr directory, and zip that")
    if isinstance(store, storage.MemoryStore) and has_client:
        raise ValueError("workers do not see this process's memory: give a path that they see, or an object store")
    return Objects(store, key, force)


class Folder:
    """``OUT.progress/KEY/`` holds ``store/``, which becomes ``OUT`` in the end, and ``notes/``."""

    data = "store/"
    notes = "notes/"

    def __init__(self, out: str, key: str, force: bool) -> None:
        self.out = os.path.abspath(out)
        if not self.out.lower().endswith(".zarr"):
            zipped = "; zip the finished directory yourself" if self.out.lower().endswith(".zip") else ""
            raise ValueError(f"the store must be a directory whose name ends in .zarr{zipped}: {out}")
        self._all = f"{self.out}.progress"
        self._replaced = os.path.join(self._all, "replaced")
        self.root = os.path.join(self._all, key)
        if os.path.isdir(self._replaced) and not os.path.exists(self.out):
            # It was cut off between two renames.
            os.rename(self._replaced, self.out)
        _native.check_output(self.out, force)
        os.makedirs(self._all, exist_ok=True)
        others = set(os.listdir(self._all)) - {key}
        if strange := [name for name in others if not _KEY.fullmatch(name) and name != "replaced"]:
            raise ValueError(f"{self._all} is kept for unfinished stores and holds {strange[0]!r}: move that away")
        for name in others:
            shutil.rmtree(os.path.join(self._all, name))
        for name in (self.data, self.notes):
            os.makedirs(os.path.join(self.root, name), exist_ok=True)

    def _path(self, key: str) -> str:
        return os.path.join(self.root, key)

    def put(self, key: str, value: bytes) -> None:
        # Only below what the driver made: else a worker would write where nobody looks, or into a store that is finished already.
        if not os.path.isdir(self.root):
            raise FileNotFoundError(f"{self.root} is not there: workers must see the file system that the store is on")
        folder, name = os.path.split(self._path(key))
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(value)
            os.replace(temporary, self._path(key))
        except BaseException:
            if os.path.exists(temporary):
                os.remove(temporary)
            raise

    def get(self, key: str) -> bytes | None:
        try:
            with open(self._path(key), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def get_many(self, keys: list[str]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def sizes(self, keys: list[str]) -> list[int | None]:
        return [os.path.getsize(self._path(k)) if os.path.exists(self._path(k)) else None for k in keys]

    def keys(self, prefix: str) -> list[str]:
        top = self._path(prefix)
        found = (os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names)
        return [os.path.relpath(path, self.root) for path in found if not path.endswith(".tmp")]

    def delete(self, key: str) -> None:
        os.remove(self._path(key))

    def skeleton_at(self) -> str:
        return self._path("skeleton.zarr")

    def finish(self, skeleton: str) -> str:
        store = self._path(self.data)
        # What a killed worker was writing.
        for folder, _, names in os.walk(store):
            for name in names:
                if name.endswith(".tmp"):
                    os.remove(os.path.join(folder, name))
        for name in _files(skeleton):
            to = os.path.join(store, name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            os.replace(os.path.join(skeleton, name), to)
        if os.path.lexists(self.out):
            os.rename(self.out, self._replaced)
        os.rename(store, self.out)
        shutil.rmtree(self._all)
        return self.out


class Objects:
    """The store itself; notes lie under ``.lithify-progress/KEY/``, and are gone once it is finished."""

    data = ""

    def __init__(self, store: Store, key: str, force: bool) -> None:
        self.store = store
        self.notes = f".lithify-progress/{key}/"
        there = self.keys("")
        ours = [k for k in there if k.startswith(".lithify-progress/")]
        if "zarr.json" in there:
            if not force:
                raise ValueError(f"the store exists; give force=True to replace it: {store}")
            # First of all, so that no reader finds the old metadata with new chunks.
            self.delete("zarr.json")
            self._delete(k for k in there if k != "zarr.json")
        elif any(not k.startswith(self.notes) for k in ours):
            self._delete(there)
        elif there and not ours:
            raise ValueError(f"the place of the store is not empty: choose another, or empty it: {store}")

    def put(self, key: str, value: bytes) -> None:
        _wait(self.store.set(key, _buffer().from_bytes(value)))

    def get(self, key: str) -> bytes | None:
        return self.get_many([key])[0]

    def get_many(self, keys: list[str]) -> list[bytes | None]:
        from zarr.core.buffer import default_buffer_prototype

        prototype = default_buffer_prototype()
        found = _gather(self.store.get(key, prototype) for key in keys)
        return [None if value is None else value.to_bytes() for value in found]

    def sizes(self, keys: list[str]) -> list[int | None]:
        async def size(key: str) -> int | None:
            try:
                return await self.store.getsize(key)
            except FileNotFoundError:
                return None

        return _gather(size(key) for key in keys)

    def keys(self, prefix: str) -> list[str]:
        async def collect() -> list[str]:
            return [key async for key in self.store.list_prefix(prefix)]

        found: list[str] = _wait(collect())
        return found

    def delete(self, key: str) -> None:
        _wait(self.store.delete(key))

    def _delete(self, keys: Iterable[str]) -> None:
        _gather(self.store.delete(key) for key in keys)

    def skeleton_at(self) -> str:
        import tempfile

        return os.path.join(tempfile.mkdtemp(prefix="lithify."), "skeleton.zarr")

    def finish(self, skeleton: str) -> str:
        for name in _files(skeleton):
            with open(os.path.join(skeleton, name), "rb") as file:
                self.put(name, file.read())
        self._delete(self.keys(".lithify-progress/"))
        shutil.rmtree(os.path.dirname(skeleton))
        return str(self.store)


def _files(folder: str) -> list[str]:
    """Files below a folder; the root's metadata come last."""
    found = [os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names]
    return sorted(found, key=lambda name: (name == "zarr.json", name))


def _buffer() -> Any:
    from zarr.core.buffer import default_buffer_prototype

    return default_buffer_prototype().buffer


def _wait(what: Coroutine[Any, Any, Any]) -> Any:
    # Stores are bound to zarr's own event loop.
    from zarr.core.sync import sync

    return sync(what)


def _gather(what: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """All results, in order; at most 64 requests at a time."""

    async def run() -> list[Any]:
        limit = asyncio.Semaphore(64)

        async def one(job: Coroutine[Any, Any, Any]) -> Any:
            async with limit:
                return await job

        return await asyncio.gather(*(one(job) for job in jobs))

    jobs = list(what)
    result: list[Any] = _wait(run())
    return result
