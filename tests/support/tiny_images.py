"""Images that are good for nothing but being handed about."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping

LABEL = "dev.envkit.tests"
TINY = "envkit-tests/tiny:1"


def _member(name: str, content: bytes, archive: tarfile.TarFile) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def tar(files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of files: name -> content."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as made:
        for name, content in files.items():
            _member(name, content, made)
    return written.getvalue()


def archive(content: bytes = b"hello") -> bytes:
    """Return an archive as `docker load` takes it, of an image with one file in one layer."""
    layer = tar({"file": content})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": {"Labels": {LABEL: "yes"}, "User": "me", "Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "by hand"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [TINY], "Layers": ["layer.tar"]}]
    return tar(
        {
            "layer.tar": layer,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
    )
