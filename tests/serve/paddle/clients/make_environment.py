"""Makes ``.venvs/paddle-serving``, where Paddle Serving's own client runs: bRPC in C++, from the year 2022.

    python tests/serve/paddle/clients/make_environment.py PYTHON

PYTHON is a Python 3.9 with its shared library, the last that the client is built for. It needs uv, gcc and
nm, on x86-64 Linux. The client is linked with an OpenSSL of old and with a function that glibc no longer has.
No call here uses TLS, so libraries that only have these names stand in for the first, and ``dlsym`` for the
second.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[4] / ".venvs" / "paddle-serving"
PACKAGES = (
    *("paddle-serving-client==0.9.0", "protobuf==3.20.3", "grpcio==1.62.3", "numpy<1.24", "requests"),
    *("six", "func_timeout", "pyyaml", "setuptools<70"),
)
VERSIONS = {
    "libssl.so.10": ("libssl.so.10",),
    "libcrypto.so.10": ("libcrypto.so.10", "OPENSSL_1.0.1_EC"),
}
BODIES = {
    "CRYPTO_num_locks": "long CRYPTO_num_locks(void) { return 1; }",
    "BN_dec2bn": "int BN_dec2bn(void **number, const char *text) { *number = room + 32768; return 1; }",
}
DLSYM = """
#define _GNU_SOURCE
#include <dlfcn.h>
void *_dl_sym(void *handle, const char *name, void *who) { return dlsym(handle, name); }
"""


def link(name: str, code: str, script: str) -> None:
    """Build a shared library with symbol versions."""
    folder = FOLDER / "stubs"
    folder.mkdir(exist_ok=True)
    source, versions = folder / f"{name}.c", folder / f"{name}.map"
    source.write_text(code, encoding="utf-8")
    versions.write_text(script, encoding="utf-8")
    flags = ["-w", "-shared", "-fPIC", "-fno-builtin", f"-Wl,-soname,{name}"]
    out = ["-o", str(folder / name), f"-Wl,--version-script={versions}", str(source), "-ldl"]
    subprocess.run(["gcc", *flags, *out], check=True)


def main(python: str) -> None:
    """Make the environment."""
    subprocess.run(["uv", "venv", "--quiet", "--python", python, str(FOLDER)], check=True)
    install = ["uv", "pip", "install", "--quiet", "--python", str(FOLDER / "bin" / "python"), "--no-deps"]
    client, *others = PACKAGES
    subprocess.run([*install, client], check=True)
    subprocess.run([*install[:-1], *others], check=True)
    (library,) = FOLDER.glob("lib/python3.9/site-packages/paddle_serving_client/serving_client.so")
    wanted = subprocess.run(
        ["nm", "-D", "--undefined-only", str(library)], check=True, capture_output=True, text=True
    ).stdout
    symbols = [tuple(line.split()[-1].split("@")) for line in wanted.splitlines() if "@" in line]
    for name, versions in VERSIONS.items():
        code, script = ["static char room[65536];"], []
        for version in versions:
            names = [symbol for symbol, of in symbols if of == version]
            script.append(f"{version} {{ global: {' '.join(f'{symbol};' for symbol in names)} }};")
            for symbol in names:
                code.append(BODIES.get(symbol, f"void *{symbol}(void) {{ return room + 32768; }}"))
        link(name, "\n".join(code), "\n".join(script))
    link("dlsym.so", DLSYM, "GLIBC_PRIVATE { global: _dl_sym; };")
    print(f"made {FOLDER}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
