# SPDX-License-Identifier: Apache-2.0
#
# Runs a program for WASI under wasmtime, with the whole file system: wasi.py PROGRAM ARGUMENT…
import sys

import wasmtime

engine = wasmtime.Engine()
store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
linker.define_wasi()
wasi = wasmtime.WasiConfig()
wasi.inherit_stdout()
wasi.inherit_stderr()
wasi.argv = sys.argv[1:]
wasi.preopen_dir("/", "/")
store.set_wasi(wasi)
program = linker.instantiate(store, wasmtime.Module.from_file(engine, sys.argv[1]))
try:
    program.exports(store)["_start"](store)
except wasmtime.ExitTrap as end:
    sys.exit(end.code)
