"""Text in LLVM's language becomes machine code, in this process; with the environment variable ``AUTODIFF_CACHE`` set
to a folder, object code is kept there, to be run again: a folder that only its owner may write.

Needs llvmlite, which ``pip install 'autodiff[compile]'`` brings."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

CHECKED = 32
"""Bytes of the checksum with which a file of the cache begins."""


@functools.cache
def llvm() -> Any:
    """llvmlite's binding, ready to compile for this machine.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import llvmlite.binding as binding
    except ImportError as error:
        raise ImportError(
            "machine code needs llvmlite, which is not installed: pip install 'autodiff[compile]'"
        ) from error
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@functools.cache
def host() -> tuple[str, str]:
    """This machine's processor and what it can do, as LLVM names them."""
    return llvm().get_host_cpu_name(), llvm().get_host_cpu_features().flatten()


@functools.cache
def vector_bits() -> int:
    """Bits of the widest vectors of this machine."""
    features = host()[1].split(",")
    return 512 if "+avx512dq" in features and "+avx512vl" in features else 256 if "+avx2" in features else 128


_lock = threading.Lock()  # LLVM's context is one for the process
_made: WeakValueDictionary[Any, Machine] = WeakValueDictionary()
_made_lock = threading.Lock()


class Machine:
    """The machine code of a module; it lives as long as this object.

    Args:
        text: the module.
        symbols: addresses of the functions that it calls and does not define, by name.

    Raises:
        ImportError: llvmlite is not installed.
    """

    def __init__(self, text: str, symbols: Mapping[str, int] = MappingProxyType({})) -> None:
        binding = llvm()
        with _lock:
            for name, address in symbols.items():
                binding.add_symbol(name, address)
            file = _cached(text)
            code = _read(file) if file else None
            if code is None:
                code = _object_code(text)
                if file:
                    _write(file, code)
            self._target = _target_machine()  # the engine takes it over
            self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), self._target)
            self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
            self._engine.finalize_object()

    @classmethod
    def of(cls, text: str, symbols: Mapping[str, int]) -> Machine:
        """The machine code of a module, made once for each text: programs of one function are often the same but for
        what stands beside the machine code."""
        with _made_lock:
            found = _made.get((text, tuple(symbols.items())))
            if found is None:
                found = _made[text, tuple(symbols.items())] = cls(text, symbols)
            return found

    def address(self, function: str) -> int:
        """Where a function begins."""
        return int(self._engine.get_function_address(function))


def _target_machine() -> Any:
    cpu, features = host()
    target = llvm().Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=2, jit=True)


def _object_code(text: str) -> bytes:
    binding, target = llvm(), _target_machine()
    module = binding.parse_assembly(text)
    module.triple, module.data_layout = binding.get_default_triple(), str(target.target_data)
    options = binding.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = options.loop_interleaving = False
    builder = binding.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(target.emit_object(module))


def _cached(text: str) -> Path | None:
    """The file of a module's code: named after the text, the versions and the machine."""
    folder = os.environ.get("AUTODIFF_CACHE")
    if not folder:
        return None
    import llvmlite

    parts = [text, llvmlite.__version__, *map(str, llvm().llvm_version_info), *host(), sys.platform]
    return Path(folder) / (hashlib.sha256("\0".join(parts).encode()).hexdigest() + ".o")


def _read(file: Path) -> bytes | None:
    """Code of the cache; None where there is none, or what is there has been damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    check, code = content[:CHECKED], content[CHECKED:]
    return code if hashlib.sha256(code).digest() == check else None


def _write(file: Path, code: bytes) -> None:
    """Whole or not at all; a cache that cannot be written is no error."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(number, "wb") as stream:
            stream.write(hashlib.sha256(code).digest() + code)
        os.replace(name, file)
