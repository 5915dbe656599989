"""A graph from elsewhere first runs in a process of its own, with limited time and memory.

The process is a fresh Python that imports what `verify.py` needs while the caller still reads the bundle. It writes no
file, and whatever happens to it is a fault of the bundle. Where the system has no such limits (Windows), only the time
is limited.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Timer

from .parts import SEEN
from .verify import MOST_CELLS, Expected, Fault, verify

_MAIN = "from leukoscope.bundle.child import main; main()"
_PARTS = ("model.onnx", "golden.npz", SEEN)
_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What the process may use once its libraries are loaded. seconds: of processors, all threads together; memory:
    bytes; wait: seconds of the clock until it is given up, many more, since the machine may be busy."""

    seconds: float
    memory: int
    wait: float


def limits(sizes: Mapping[str, int], size: int) -> Limits:
    """Several times what the networks that we export need. sizes: of the parts, bytes; size: of the cells, px.

    A network reads each weight, and for each pixel multiplies with at most each weight: no network of the zoo with
    more than 400,000 of them (VGG-19 with 390,000). It holds some maps of 64 channels.
    """
    total = sum(sizes.values())
    pixels = (MOST_CELLS + 1) * size**2
    seconds = 1 + total / 50e6 + pixels * min(sizes["model.onnx"] / 4, 400_000) / 8e9
    memory = 160 * _MIB + 4 * total + min(2048 * MOST_CELLS * size**2, 2048 * _MIB)
    return Limits(seconds, memory, 60 + 30 * seconds if hasattr(signal, "setitimer") else 10 + 5 * seconds)


@contextmanager
def checking_process() -> Iterator[subprocess.Popen[bytes]]:
    """Start the process; it is ended with the block."""
    quiet = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONWARNINGS": "ignore",
             "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    try:
        process = subprocess.Popen([sys.executable, "-P", "-c", _MAIN], env={**os.environ, **quiet},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise Fault(f"cannot be checked: no process can be started ({error.strerror})",
                    "close other programs, or ask who runs the machine") from error
    with process:
        try:
            yield process
        finally:
            process.kill()


def verify_in(process: subprocess.Popen[bytes], parts: Mapping[str, bytes], expected: Expected,
              threads: int) -> None:
    """Have a process of `checking_process` verify a bundle, with so many threads. Raises Fault."""
    sizes = {name: len(parts.get(name, b"")) for name in _PARTS}
    allowed = limits(sizes, expected.size)
    assert process.stdin is not None
    assert process.stdout is not None
    expired = Event()
    timer = Timer(allowed.wait, lambda: (expired.set(), process.kill()))
    timer.start()
    try:
        head = {"sizes": sizes, "limits": asdict(allowed), "expected": asdict(expected), "threads": threads}
        with suppress(BrokenPipeError):  # it ended before it had read all
            process.stdin.write(json.dumps(head).encode() + b"\n")
            for name in _PARTS:
                process.stdin.write(parts.get(name, b""))
        with suppress(BrokenPipeError):
            process.stdin.close()
        answer = process.stdout.read(1 << 16)
    finally:
        timer.cancel()
    try:
        fault = json.loads(answer)
    except ValueError as error:
        if expired.is_set():
            raise Fault(f"checking it took longer than {allowed.wait:.0f} s",
                        "try again when this machine is less busy") from error
        raise Fault(_ended(process, allowed), "do not use this bundle") from error
    if fault:
        raise Fault(*fault)


def _ended(process: subprocess.Popen[bytes], allowed: Limits) -> str:
    """Why there is no answer."""
    code = process.wait()
    if code == -getattr(signal, "SIGPROF", 0):
        return f"checking it took longer than a bundle of its size needs ({allowed.seconds:.0f} s)"
    return (f"the process that checks it ended without an answer (code {code}); it may use {allowed.memory // _MIB:,} "
            "MiB")


def main() -> None:
    """What the process does: load the libraries, take the limits and the parts, say what is wrong."""
    import onnx  # noqa: F401  # before the limits
    import onnxruntime  # noqa: F401

    head = json.loads(sys.stdin.buffer.readline())
    if head["sizes"][SEEN]:
        from .. import tables  # noqa: F401
    allowed, expected = Limits(**head["limits"]), Expected(**head["expected"])
    _limit(allowed)
    fault: tuple[str, str] | None = None
    try:
        parts = [sys.stdin.buffer.read(head["sizes"][name]) for name in _PARTS]
        verify(*parts, expected, head["threads"])  # type: ignore[call-arg]  # three parts
    except Fault as error:
        no_memory = "alloc" in str(error.__cause__).lower()  # in the words of onnxruntime and polars
        fault = (_too_large(allowed), "do not use this bundle") if no_memory else (error.what, error.hint)
    except MemoryError:
        fault = _too_large(allowed), "do not use this bundle"
    sys.stdout.write(json.dumps(fault))
    sys.stdout.flush()
    os._exit(0)  # nothing of it needs to be taken down


def _too_large(allowed: Limits) -> str:
    return f"checking it needs more memory than a bundle of its size ({allowed.memory // _MIB:,} MiB)"


def _limit(allowed: Limits) -> None:
    """Limit this process: seconds of processors, memory beyond what it has now, no files and no memory dumps."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    used = _address_space()
    rows: dict[int, int] = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if used is not None:
        rows[resource.RLIMIT_AS] = used + allowed.memory
    for kind, most in rows.items():
        resource.setrlimit(kind, (most, most))
    signal.setitimer(signal.ITIMER_PROF, allowed.seconds)  # SIGPROF ends it


def _address_space() -> int | None:
    """Bytes of address space that this process has; None where the system does not say as Linux does."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
