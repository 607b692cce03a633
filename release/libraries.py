"""The libraries that CPython's own modules stand on, linked into them: as static, position-independent archives."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from .sources import Source
from .toolchain import Toolchain, make, run

_SMALL = "-O2 -fPIC"
# TLS 1.2 and 1.3 with what their suites need; no engines, no modules to load, no programs.
_OPENSSL_WITHOUT = """
    shared tests apps docs legacy dso engine module comp quic ssl3 tls1 tls1_1 dtls idea seed md4 mdc2 rc2 rc4 rmd160
    bf cast camellia aria sm2 sm3 sm4 whirlpool des srp psk gost ts cms cmp ct ocsp ec2m ssl-trace async afalgeng uplink
    http
"""


def build(sources: Mapping[str, Source], toolchain: Toolchain, prefix: Path, log: Path) -> None:
    """Build all of them into ``prefix`` (include/, lib/)."""
    for name in ("include", "lib"):
        (prefix / name).mkdir(parents=True)
    _zlib(sources["zlib"].tree, toolchain, prefix, log)
    _libffi(sources["libffi"].tree, toolchain, prefix, log)
    _sqlite(sources["sqlite3"].tree, toolchain, prefix, log)
    _openssl(sources["openssl"].tree, toolchain, prefix, log)


def _zlib(tree: Path, toolchain: Toolchain, prefix: Path, log: Path) -> None:
    environment = toolchain.environment(CFLAGS=_SMALL)
    run(["./configure", "--static", f"--prefix={prefix}"], cwd=tree, log=log, environment=environment)
    run(make("libz.a"), cwd=tree, log=log, environment=environment)
    shutil.copy2(tree / "libz.a", prefix / "lib")
    for name in ("zlib.h", "zconf.h"):
        shutil.copy2(tree / name, prefix / "include")


def _libffi(tree: Path, toolchain: Toolchain, prefix: Path, log: Path) -> None:
    """Without static trampolines: they want a memory file, and we hand C no callback."""
    environment = toolchain.environment(CFLAGS=_SMALL)
    options = ["--disable-shared", "--with-pic", "--disable-docs", "--disable-multi-os-directory"]
    options += ["--disable-exec-static-tramp", f"--host={toolchain.target.triple}", f"--prefix={prefix}"]
    run(["./configure", *options, f"--libdir={prefix / 'lib'}"], cwd=tree, log=log, environment=environment)
    run(make("install"), cwd=tree, log=log, environment=environment)


def _sqlite(tree: Path, toolchain: Toolchain, prefix: Path, log: Path) -> None:
    """The one big C file is made by the machine's own compiler and Tcl, then compiled for the target."""
    run(["./configure", "--disable-tcl"], cwd=tree, log=log)
    run(["make", "sqlite3.c", "sqlite3.h"], cwd=tree, log=log)
    environment = toolchain.environment()
    options = ["-DSQLITE_THREADSAFE=1", "-DSQLITE_ENABLE_MATH_FUNCTIONS", "-DSQLITE_OMIT_LOAD_EXTENSION"]
    compile_it = ["zig-cc", *_SMALL.split(), *options, "-c", "sqlite3.c", "-o", "sqlite3.o"]
    run(["env", *compile_it], cwd=tree, log=log, environment=environment)
    archive: list[str | Path] = ["env", "zig-ar", "rcs", prefix / "lib" / "libsqlite3.a", "sqlite3.o"]
    run(archive, cwd=tree, log=log, environment=environment)
    shutil.copy2(tree / "sqlite3.h", prefix / "include")


def _openssl(tree: Path, toolchain: Toolchain, prefix: Path, log: Path) -> None:
    """Its certificates are the machine's: /etc/ssl, as Debian and Ubuntu have it."""
    environment = toolchain.environment()
    without = [f"no-{name}" for name in _OPENSSL_WITHOUT.split()]
    places = ["--prefix=/usr", "--openssldir=/etc/ssl"]
    command = ["perl", "Configure", toolchain.target.openssl, *places, *without]
    run(command, cwd=tree, log=log, environment=environment)
    run(make("build_libs"), cwd=tree, log=log, environment=environment)
    for name in ("libcrypto.a", "libssl.a"):
        shutil.copy2(tree / name, prefix / "lib")
    shutil.copytree(tree / "include" / "openssl", prefix / "include" / "openssl")
