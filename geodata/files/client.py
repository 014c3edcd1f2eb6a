"""The library that talks to object stores: one for each process, its settings, and its errors in plain words."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
import threading
from datetime import timedelta
from types import ModuleType
from typing import Any
from weakref import WeakSet

from geodata.errors import MissingDependencyError, ReadError
from geodata.files.profile import profile

__all__ = ["KINDS", "Connection", "alone", "library", "reason"]

KINDS = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}
"""Schemes of URLs and the class that opens them."""

RETRIES = 6
"""How often a request is tried again after a lost connection, a timeout or a 5xx answer."""

# Keys of the configuration: as options of the client they would undo what the environment says of it, e.g. AWS_ALLOW_HTTP.
_TIMES = {
    "connect_timeout": "5s",
    "read_timeout": "30s",  # without a byte
    "timeout": "10m",  # a whole shard over a slow line
}
_PATIENCE = timedelta(seconds=60)  # no retry begins later than this
_BACKOFF = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=8), "base": 2}

_NATIVE = "obstore._obstore"


class _Process:
    """The library as this process has it.

    Obstore runs threads that a forked child does not have, and shares the kernel's list of open connections with its
    parent: a call of what was inherited hangs, and can crash the parent. A child thus loads a copy of its own, and keeps
    what it inherited without touching it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.loaded: ModuleType | None = None
        self.foreign = _NATIVE in sys.modules
        self.connections: WeakSet[Connection] = WeakSet()
        self.kept: list[Any] = []

    def forked(self) -> None:
        self.lock = threading.RLock()
        self.kept.append((self.loaded, *self.connections))
        self.connections = WeakSet()
        self.loaded = None
        self.foreign = self.foreign or _NATIVE in sys.modules


class Connection:
    """The store of a URL, as one process has it; nothing is sent before it is asked for something.

    Parameters
    ----------
    root : URL of a kind that is known

    Raises
    ------
    ReadError
        If a setting of the environment or the profile cannot be used.
    """

    def __init__(self, root: str) -> None:
        self.process = os.getpid()
        self.lib = lib = library()
        scheme, _, rest = root.partition("://")
        bucket, _, prefix = rest.partition("/")
        retry = {"max_retries": RETRIES, "retry_timeout": _PATIENCE, "backoff": _BACKOFF}
        settings = {**_TIMES, **(profile() if scheme == "s3" else {})}
        kind = getattr(lib._store, KINDS[scheme])
        try:
            self.store = kind(bucket, prefix=prefix or None, config=settings, retry_config=retry)
        except (lib.exceptions.BaseError, ValueError) as error:
            raise ReadError(f"cannot open {root}: {reason(error)}") from None
        with _HERE.lock:
            _HERE.connections.add(self)


_HERE = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_HERE.forked)


def library() -> Any:
    """Return obstore's functions, safe to call in this process.

    Raises
    ------
    MissingDependencyError
        If obstore is not installed.
    ReadError
        If this process was made by fork, and no copy of obstore can be loaded.
    """
    here = _HERE
    if here.loaded is None:
        with here.lock:
            if here.loaded is None:
                here.loaded = _copy() if here.foreign else _first()
    return here.loaded


def _first() -> ModuleType:
    try:
        return importlib.import_module(_NATIVE)
    except ImportError:
        raise MissingDependencyError(
            "reading from an object store needs obstore; install it with: pip install 'geodata[cloud]'"
        ) from None


def _copy() -> ModuleType:
    """Load the library a second time: the loader takes a file in memory for another one."""
    names = (_NATIVE, "obstore._store", "obstore.exceptions")
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    found = importlib.util.find_spec(_NATIVE)
    try:
        with open(str(found and found.origin), "rb") as file:
            number = os.memfd_create("obstore")
            try:
                with open(number, "wb", closefd=False) as memory:
                    memory.write(file.read())
                path = f"/proc/self/fd/{number}"
                loader = importlib.machinery.ExtensionFileLoader(_NATIVE, path)
                spec = importlib.util.spec_from_file_location(_NATIVE, path, loader=loader)
                if spec is None:
                    raise ImportError("no loader takes it")
                module = importlib.util.module_from_spec(spec)
                loader.exec_module(module)
            finally:
                os.close(number)
    except (AttributeError, ImportError, OSError) as error:
        raise ReadError(
            f"obstore cannot be loaded anew in a process made by fork ({error}); "
            "start processes by 'spawn' or 'forkserver', e.g. DataLoader(multiprocessing_context='spawn')"
        ) from None
    finally:
        sys.modules.update(before)
    return module


def alone() -> threading.RLock:
    """Return a lock of this process, free in a child that is forked while another thread holds it."""
    return _HERE.lock


_HINTS = (
    # what the library says -> what it means, and what to do
    (
        r"latest/api/token|security-credentials|169\.254\.|Account must be specified|metadata\.google\.internal|metadata/identity",
        "no credentials were found. For S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
        "AWS_SKIP_SIGNATURE=true for public data; for Google GOOGLE_APPLICATION_CREDENTIALS; for Azure "
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    ),
    ("NoSuchBucket|ContainerNotFound|bucket does not exist", "there is no such bucket; check the URL and the endpoint"),
    (
        "builder error",
        "the endpoint cannot be used; if it is an address with http:// on purpose, set AWS_ALLOW_HTTP=true",
    ),
    ("without LOCATION|301 Moved", "the bucket is in another region; set AWS_REGION"),
    (
        "403 Forbidden|401 Unauthorized|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|PermissionDenied",
        "access was refused; check the credentials and what they may do. A store that does not let you list also "
        "answers so if the object is not there",
    ),
    (
        "error sending request|timed out|TimedOut|connection",
        "the connection failed; check the network, and AWS_ENDPOINT_URL if one is set",
    ),
)


def reason(error: Exception) -> str:
    """Return what went wrong and what to do, without what a server repeats of keys and signatures."""
    said = str(error)
    head = said.partition("\n\nDebug source")[0]
    for pattern, hint in _HINTS:
        if re.search(pattern, head):
            return f"{hint} ({_short(head)})"
    return _short(head)


def _short(said: str) -> str:
    """Return the first line, and of a server's page only its code and message."""
    head = said.partition("\n\nDebug source")[0]
    line, _, page = head.partition("<")
    told = ": ".join(re.findall(r"<(?:Code|Message)>([^<]*)<", "<" + page))
    line = " ".join(line.split()).rstrip(": ")
    return f"{line[:300]}: {told[:200]}" if told else line[:300]
