"""Build the step image and the serving image, and push them if a registry is given: `make images [REGISTRY=…] [TAG=…]`.

The serving image gets a label with the fingerprint of its environment, which only the finished image can say. So it is built and
asked, and then gets the label. Both images have the same base image, so that they have the same Python.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP, SERVING = "sluice-step", "sluice-serving"
DOCKERFILES = {STEP: "components/Dockerfile", SERVING: "serving/Dockerfile"}
READ_FINGERPRINT = ("python3", "-m", "sluice.release.fingerprint")
LABEL = "sluice.fingerprint"
"""The label in which `sluice.release.registry.serving_images` finds the fingerprint."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A program that builds and pushes images: buildah or docker.

    Attributes:
        program: Its path.
        base: The base image of both images; empty for that of the Dockerfiles.
        plain_http: Whether the registries of the base image and of the pushed images speak HTTP. Docker has a setting of its
            daemon for this.
    """

    program: str
    base: str = ""
    plain_http: bool = False

    @property
    def is_buildah(self) -> bool:
        """Whether it is buildah, which runs a container in three commands and writes the digest of a push to a file."""
        return Path(self.program).name == "buildah"

    @property
    def _tls(self) -> list[str]:
        return ["--tls-verify=false"] if self.plain_http and self.is_buildah else []

    def build(self, image: str, dockerfile: str) -> None:
        """Build an image from the folder in which this runs. This pulls the base image."""
        base = ["--build-arg", f"BASE={self.base}"] if self.base else []
        self._run("build", *self._tls, "-t", image, *base, "-f", dockerfile, ".")

    def add_label(self, image: str, value: str) -> None:
        """Give an image the label with its fingerprint. Its layers stay the same."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "Dockerfile").write_text(f"FROM {image}\n", encoding="utf-8")
            self._run("build", "--label", f"{LABEL}={value}", "-t", image, "-f", str(Path(folder, "Dockerfile")), folder)

    def read_fingerprint(self, image: str) -> str:
        """Return the fingerprint of an image's environment, as the image itself reads it."""
        if not self.is_buildah:
            program, *arguments = READ_FINGERPRINT
            return self._read("run", "--rm", "--entrypoint", program, image, *arguments)
        container = self._read("from", image)
        try:
            return self._read("run", container, "--", *READ_FINGERPRINT)
        finally:
            self._run("rm", container, quiet=True)

    def push(self, image: str, target: str) -> str:
        """Push an image under another name, and return it by digest."""
        repository = target.rpartition(":")[0]
        if self.is_buildah:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "digest")
                self._run("push", *self._tls, "--digestfile", str(file), image, f"docker://{target}")
                return f"{repository}@{file.read_text(encoding='utf-8').strip()}"
        self._run("tag", image, target)
        self._run("push", target)
        pushed = self._read("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', image).split()
        return next(one for one in pushed if one.startswith(f"{repository}@"))

    def _run(self, *arguments: str, quiet: bool = False) -> None:
        subprocess.run([self.program, *arguments], check=True, stdout=subprocess.DEVNULL if quiet else None)

    def _read(self, *arguments: str) -> str:
        return subprocess.run([self.program, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def find_builder(base: str, *, plain_http: bool) -> Builder | None:
    """Return buildah, otherwise docker; None if neither is installed."""
    found = shutil.which("buildah") or shutil.which("docker")
    return Builder(found, base, plain_http) if found else None


def build_images(builder: Builder, *, registry: str, tag: str) -> list[str]:
    """Build both images, and push them if a registry is given.

    Returns:
        What sluice.toml and the manifests have to name, one line each.
    """
    for image, dockerfile in DOCKERFILES.items():
        builder.build(f"{image}:{tag}", dockerfile)
    builder.add_label(f"{SERVING}:{tag}", builder.read_fingerprint(f"{SERVING}:{tag}"))
    if not registry:
        return [f"{image}:{tag}" for image in DOCKERFILES]
    pushed = {image: builder.push(f"{image}:{tag}", f"{registry.rstrip('/')}/{image}:{tag}") for image in DOCKERFILES}
    return [
        f"{pushed[STEP]}    steps.image, and images in the kustomization of the controller",
        f"{pushed[SERVING]}    serving.image",
    ]


def main(arguments: Sequence[str]) -> int:
    """Build, push and print the names; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the step image and the serving image.")
    parser.add_argument("--registry", default="", help="Registry, with a path if it has one, that both images are pushed to.")
    parser.add_argument("--tag", default="latest", help="Tag of both images.")
    parser.add_argument("--base", default="", help="Base image of both; default: python:3.11-slim.")
    parser.add_argument("--plain-http", action="store_true", help="Pull the base image and push over HTTP (buildah).")
    options = parser.parse_args(arguments)
    builder = find_builder(options.base, plain_http=options.plain_http)
    if builder is None:
        sys.stderr.write("make images needs buildah or docker\n")
        return 2
    os.chdir(Path(__file__).parents[1])
    try:
        lines = build_images(builder, registry=options.registry, tag=options.tag)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{' '.join(map(str, error.cmd[:2]))} failed with exit code {error.returncode}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
