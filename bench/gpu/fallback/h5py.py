# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The few things of h5py that the comparisons with PyTorch use, on the HDF5 library that the program links: for nodes without h5py.

NASTURTIUM_HDF5_LIBRARY names the library where the loader does not find it. Arrays of bytes, integers and floating point alone.
"""

import ctypes
import ctypes.util
import os
from collections.abc import Iterator

import numpy as np

_library: ctypes.CDLL | None = None
_GROUP, _DATASET = 2, 5  # H5I_type_t
_TYPES = {"uint8": "H5T_NATIVE_UINT8_g", "int32": "H5T_NATIVE_INT32_g", "int64": "H5T_NATIVE_INT64_g",
          "float32": "H5T_NATIVE_FLOAT_g", "float64": "H5T_NATIVE_DOUBLE_g"}
_CLASSES = {0: "int", 1: "float"}  # H5T_class_t
_ID, _SIZE, _TEXT, _INT = ctypes.c_int64, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_int
_SIGNATURES = {
    "H5open": (_INT,), "H5Eset_auto2": (_INT, _ID, ctypes.c_void_p, ctypes.c_void_p),
    "H5Fopen": (_ID, _TEXT, ctypes.c_uint, _ID), "H5Fcreate": (_ID, _TEXT, ctypes.c_uint, _ID, _ID), "H5Fclose": (_INT, _ID),
    "H5Oopen": (_ID, _ID, _TEXT, _ID), "H5Oclose": (_INT, _ID), "H5Iget_type": (_INT, _ID),
    "H5Lget_name_by_idx": (ctypes.c_ssize_t, _ID, _TEXT, _INT, _INT, _SIZE, ctypes.c_char_p, ctypes.c_size_t, _ID),
    "H5Pcreate": (_ID, _ID), "H5Pset_create_intermediate_group": (_INT, _ID, ctypes.c_uint), "H5Pclose": (_INT, _ID),
    "H5Screate_simple": (_ID, _INT, ctypes.POINTER(_SIZE), ctypes.c_void_p), "H5Sclose": (_INT, _ID),
    "H5Sget_simple_extent_ndims": (_INT, _ID), "H5Sget_simple_extent_dims": (_INT, _ID, ctypes.POINTER(_SIZE), ctypes.c_void_p),
    "H5Dget_space": (_ID, _ID), "H5Dget_type": (_ID, _ID), "H5Tget_class": (_INT, _ID), "H5Tget_size": (ctypes.c_size_t, _ID),
    "H5Tget_sign": (_INT, _ID), "H5Tclose": (_INT, _ID),
    "H5Dcreate2": (_ID, _ID, _TEXT, _ID, _ID, _ID, _ID, _ID), "H5Dclose": (_INT, _ID),
    "H5Dread": (_INT, _ID, _ID, _ID, _ID, _ID, ctypes.c_void_p), "H5Dwrite": (_INT, _ID, _ID, _ID, _ID, _ID, ctypes.c_void_p),
}


def _hdf5() -> ctypes.CDLL:
    global _library
    if _library is None:
        name = os.environ.get("NASTURTIUM_HDF5_LIBRARY") or ctypes.util.find_library("hdf5") or ctypes.util.find_library("hdf5_serial")
        if not name:
            raise OSError("no HDF5 library is found; NASTURTIUM_HDF5_LIBRARY can name one")
        library = ctypes.CDLL(name)
        for function, (result, *arguments) in _SIGNATURES.items():
            getattr(library, function).restype, getattr(library, function).argtypes = result, arguments
        library.H5open()
        library.H5Eset_auto2(0, None, None)
        _library = library
    return _library


def _global(name: str) -> int:
    return _ID.in_dll(_hdf5(), name).value


def _checked(value: int, what: str) -> int:
    if value < 0:
        raise OSError(f"HDF5: {what}")
    return value


class Dataset:
    def __init__(self, identifier: int, path: str):
        self._id, self._path = identifier, path

    def __del__(self) -> None:
        _hdf5().H5Dclose(self._id)

    def __getitem__(self, key: tuple) -> np.ndarray:
        if key != ():
            raise TypeError("a data set can be read as a whole alone")
        library = _hdf5()
        space, stored = library.H5Dget_space(self._id), library.H5Dget_type(self._id)
        rank = _checked(library.H5Sget_simple_extent_ndims(space), f"{self._path}: has no simple shape")
        shape = (_SIZE * max(rank, 1))()
        library.H5Sget_simple_extent_dims(space, shape, None)
        kind = _CLASSES.get(library.H5Tget_class(stored), "")
        unsigned = kind == "int" and library.H5Tget_sign(stored) == 0
        name = f"{'u' * unsigned}{kind}{8 * library.H5Tget_size(stored)}"
        library.H5Tclose(stored)
        library.H5Sclose(space)
        if name not in _TYPES:
            raise OSError(f"HDF5: {self._path}: values of type {name or 'unknown'} are not read here")
        result = np.empty(tuple(shape[:rank]), name)
        _checked(library.H5Dread(self._id, _global(_TYPES[name]), 0, 0, 0, result.ctypes.data), f"{self._path}: cannot be read")
        return result


class Group:
    def __init__(self, identifier: int, path: str):
        self._id, self._path = identifier, path

    def __del__(self) -> None:
        if self._id:
            _hdf5().H5Oclose(self._id)

    def __getitem__(self, key: str) -> "Group | Dataset":
        path = f"{self._path}/{key}"
        child = _hdf5().H5Oopen(self._id, key.encode(), 0)
        if child < 0:
            raise KeyError(path)
        return (Dataset if _hdf5().H5Iget_type(child) == _DATASET else Group)(child, path)

    def __setitem__(self, key: str, values: np.ndarray) -> None:
        library, values = _hdf5(), np.ascontiguousarray(values)
        kind = _global(_TYPES[values.dtype.name])
        space = library.H5Screate_simple(values.ndim, (_SIZE * max(values.ndim, 1))(*values.shape), None)
        links = library.H5Pcreate(_global("H5P_CLS_LINK_CREATE_ID_g"))
        library.H5Pset_create_intermediate_group(links, 1)
        made = _checked(library.H5Dcreate2(self._id, key.encode(), kind, space, links, 0, 0), f"{self._path}/{key}: cannot be made")
        _checked(library.H5Dwrite(made, kind, 0, 0, 0, values.ctypes.data), f"{self._path}/{key}: cannot be written")
        for close, each in ((library.H5Dclose, made), (library.H5Pclose, links), (library.H5Sclose, space)):
            close(each)

    def keys(self) -> list[str]:
        names: list[str] = []
        text = ctypes.create_string_buffer(1024)
        while _hdf5().H5Lget_name_by_idx(self._id, b".", 0, 0, len(names), text, len(text), 0) >= 0:
            names.append(text.value.decode())
        return names

    def items(self) -> Iterator[tuple[str, "Group | Dataset"]]:
        return ((name, self[name]) for name in self.keys())


class File(Group):
    def __init__(self, path: str | os.PathLike, mode: str = "r"):
        name = os.fspath(path)
        identifier = _hdf5().H5Fopen(name.encode(), 0, 0) if mode == "r" else _hdf5().H5Fcreate(name.encode(), 2, 0, 0)
        super().__init__(0, name)
        self._id = _checked(identifier, f"{name}: cannot be opened")

    def close(self) -> None:
        if self._id:
            _hdf5().H5Fclose(self._id)
            self._id = 0

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
