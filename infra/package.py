"""Build the zip that FunctionGraph runs, and its bill of materials beside it.

In the zip are `function/`, and of the lock (`requirements.txt`) what `index.py` needs, for the platform's Python and
not for this one. The same sources, lock and Python 3.12 give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[1]
OUTPUT = TOP / "dist" / "vaultbell-functiongraph.zip"

# What index.py imports, now or when an event asks for it. Flask and the framework are the HTTP server's.
ROOTS = ("cryptography", "jinja2", "pydantic", "pyyaml", "requests")
# What some settings ask for besides: more services, traces and metrics by OTLP, and a store that all instances share.
EXTRAS = {
    "apprise": ("apprise",),
    "otel": ("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"),
    "redis": ("redis",),
}

# The platform: its Python, and the oldest C library that wheels are built for.
PYTHON = (3, 12)
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64")
TARGET = {
    "implementation_name": "cpython",
    "implementation_version": "3.12.0",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.12.0",
    "python_version": "3.12",
    "sys_platform": "linux",
    "extra": "",
}
CODE = PurePosixPath("/opt/function/code")  # where the platform unpacks it: a file's path in a traceback

LARGEST = 20 << 20  # bytes; the platform takes 40 MB through its console
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
UNUSED = (".c", ".h", ".pxd", ".pyi")  # for compilers and type checkers


class PackagingError(Exception):
    """It cannot be built; the text says why."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of the lock: its file, and what its metadata say."""

    path: Path
    metadata: Message

    @property
    def name(self) -> str:
        """The distribution's name, in its canonical form."""
        return canonicalize_name(str(self.metadata["Name"]))

    @property
    def wants(self) -> Iterator[str]:
        """The distributions that it needs on the platform."""
        for text in self.metadata.get_all("Requires-Dist", []):
            wanted = Requirement(text)
            if holds(wanted):
                yield canonicalize_name(wanted.name)


def holds(requirement: Requirement) -> bool:
    """Whether a requirement is one on the platform: pip would judge its marker by the Python that it runs in."""
    return requirement.marker is None or requirement.marker.evaluate(TARGET)


def locked(lock: Path) -> dict[str, str]:
    """The lock's pins that the platform needs: by name, `name==version` and hashes, without the marker."""
    lines = lock.read_text("utf-8").replace("\\\n", " ").splitlines()
    pins: dict[str, str] = {}
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line.split(" --hash=")[0])
        if holds(requirement):
            hashes = " ".join(re.findall(r"--hash=\S+", line))
            pins[canonicalize_name(requirement.name)] = f"{requirement.name}{requirement.specifier} {hashes}"
    return pins


def fetch(pins: dict[str, str], roots: Sequence[str], folder: Path) -> list[Wheel]:
    """The wheels of these distributions and of all that they need, checked against the lock's hashes."""
    found: dict[str, Wheel] = {}
    wanted = set(roots)
    while wanted:
        if missing := wanted - pins.keys():
            raise PackagingError(f"not in the lock: {', '.join(sorted(missing))}; make lock")
        listed = folder / "wanted.txt"
        listed.write_text("\n".join(pins[name] for name in sorted(wanted)), "utf-8")
        _download(listed, folder)
        for path in folder.glob("*.whl"):
            wheel = opened(path)
            found[wheel.name] = wheel
        wanted = {name for wheel in found.values() for name in wheel.wants} - found.keys()
    return [found[name] for name in sorted(found)]


def _download(listed: Path, folder: Path) -> None:
    version = ".".join(map(str, PYTHON))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    done = subprocess.run([*command, "--dest", folder, "-r", listed], check=False, text=True, stderr=subprocess.PIPE)
    if done.returncode:
        raise PackagingError(f"pip could not fetch the wheels:\n{done.stderr}")


def opened(path: Path) -> Wheel:
    """A wheel, and what it says of itself."""
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return Wheel(path, HeaderParser().parsestr(wheel.read(name).decode()))


def lay_out(wheels: Sequence[Wheel], code: Path, config: Path | None = None) -> None:
    """Put everything into the folder `code`, as it will lie on the platform, without bytecode."""
    shutil.copytree(
        TOP / "function", code, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*"), dirs_exist_ok=True
    )
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as content:
            for name in content.namelist():
                top = name.partition("/")[0]
                if top.endswith(".data"):
                    raise PackagingError(f"{wheel.path.name} installs files outside of its packages")
                if name.endswith(("/", *UNUSED)) or top.endswith(".dist-info") or "/tests/" in name:
                    continue
                if (code / name).exists():
                    raise PackagingError(f"{name} is in more than one of the wheels, or in function/ as well")
                content.extract(name, code)
    if config:
        shutil.copyfile(config, code / "vaultbell.yaml")


def find_python() -> str | None:
    """A Python of the platform's version on this machine, if there is one: this one, PATH's, pyenv's or uv's."""
    name = ".".join(map(str, PYTHON))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local" / "share" / "uv" / "python")
    candidates = [sys.executable, shutil.which(f"python{name}") or ""]
    candidates += map(str, sorted(pyenv.glob(f"versions/{name}.*/bin/python{name}")))
    candidates += map(str, sorted(uv.glob(f"cpython-{name}.*/bin/python{name}")))
    asked = "import sys; print(*sys.version_info[:2], sys.implementation.name)"
    for candidate in filter(None, candidates):
        # One that is on the PATH need not run: a shim may lead nowhere.
        done = subprocess.run([candidate, "-I", "-S", "-c", asked], check=False, capture_output=True, text=True)
        if done.stdout.split() == [*map(str, PYTHON), "cpython"]:
            return candidate
    return None


def compile_all(code: Path, python: str) -> None:
    """Compile everything in the folder, for good: nothing is compared or written on the platform."""
    command = [python, "-I", "-S", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(code), "-p", str(CODE), str(code)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"PYTHONHASHSEED": "0"})
    if done.returncode:
        raise PackagingError(f"a module does not compile:\n{done.stdout}{done.stderr}")


def pack(code: Path, output: Path) -> None:
    """Write the folder as a zip that depends on names and contents alone. Raises PackagingError if it is too large."""
    output.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file())
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, FIRST_DAY)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (code / name).read_bytes(), compresslevel=9)
    if output.stat().st_size > LARGEST:
        raise PackagingError(f"{output.stat().st_size} bytes are more than {LARGEST}")


def bill_of_materials(wheels: Sequence[Wheel], archive: Path, roots: Sequence[str] = ROOTS) -> dict[str, object]:
    """What is in the zip, in CycloneDX 1.6."""
    version = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    ours = f"pkg:generic/vaultbell@{version}"
    components = [_component(wheel) for wheel in wheels]
    refs = {wheel.name: str(component["bom-ref"]) for wheel, component in zip(wheels, components, strict=True)}
    depends = {ours: [refs[name] for name in roots]}
    depends |= {refs[wheel.name]: [refs[name] for name in wheel.wants] for wheel in wheels}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "vaultbell",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "purl": ours,
                "hashes": [_hash(archive)],
            }
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(depends.items())],
    }


def _component(wheel: Wheel) -> dict[str, object]:
    purl = f"pkg:pypi/{wheel.name}@{wheel.metadata['Version']}"
    expression = wheel.metadata["License-Expression"]
    classifiers = [text for text in wheel.metadata.get_all("Classifier", []) if text.startswith("License ::")]
    told = expression or (classifiers[-1].rpartition(" :: ")[2] if classifiers else wheel.metadata["License"])
    licence = {"expression": told} if expression else {"license": {"name": told or "unknown"}}
    return {
        "type": "library",
        "bom-ref": purl,
        "name": wheel.name,
        "version": wheel.metadata["Version"],
        "licenses": [licence],
        "purl": purl,
        "hashes": [_hash(wheel.path)],
    }


def _hash(path: Path) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}


def build(output: Path, config: Path | None = None, extras: Sequence[str] = ()) -> list[str]:
    """Write the zip, and `….cdx.json` beside it; what is worth telling about them. Raises PackagingError."""
    told, roots = [], (*ROOTS, *(name for extra in extras for name in EXTRAS[extra]))
    with tempfile.TemporaryDirectory() as folder:
        download, code = Path(folder, "wheels"), Path(folder, "code")
        download.mkdir()
        # The other lock holds the extras, and the same versions of all else.
        lock = TOP / ("requirements-dev.txt" if extras else "requirements.txt")
        wheels = fetch(locked(lock), roots, download)
        lay_out(wheels, code, config)
        if python := find_python():
            compile_all(code, python)
        else:
            told.append(
                f"WARNING: there is no Python {'.'.join(map(str, PYTHON))} on this machine: the zip has no bytecode, "
                "and each cold start takes several times as long. Install one, and build again."
            )
        pack(code, output)
        bill = json.dumps(bill_of_materials(wheels, output, roots), indent=2)
        output.with_suffix(".cdx.json").write_text(f"{bill}\n", "utf-8")
    size = output.stat().st_size / (1 << 20)
    told.append(f"{output}: {size:.1f} MiB, sha256 {_hash(output)['content']}")
    return told


def main() -> None:
    """Build it as the command line says."""
    parser = argparse.ArgumentParser("package.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the zip to write")
    parser.add_argument("--config", type=Path, help=f"a file of settings to put in; it will be {CODE}/vaultbell.yaml")
    parser.add_argument("--extra", choices=EXTRAS, action="append", default=[], help="put in what some settings need")
    given = parser.parse_args()
    try:
        told = build(given.output, given.config, given.extra)
    except PackagingError as error:
        sys.exit(f"package.py: {error}")
    for line in told:
        print(line, file=sys.stderr if line.startswith("WARNING") else sys.stdout)


if __name__ == "__main__":
    main()
