"""A Hugging Face hub in miniature: the client's cache laid out by hand, and a loopback server."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import safetensors.torch
import timm
import torch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ARCHITECTURE = "test_efficientnet"  # 360,000 parameters, with SE gates
TAGGED = "test_efficientnet.r160_in1k"
REPOSITORY = f"timm/{TAGGED}"


def network_files(config: Mapping[str, object] | None = None) -> tuple[dict[str, bytes], dict[str, torch.Tensor]]:
    """Return the files of a hub repository of the small network, and the weights in them."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        state = timm.create_model(ARCHITECTURE).state_dict()
    content = {
        "architecture": ARCHITECTURE,
        "num_classes": 1000,
        "pretrained_cfg": {
            "input_size": [3, 96, 128],
            "interpolation": "bicubic",
            "crop_pct": 0.9,
            "crop_mode": "center",
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "num_classes": 1000,
            "first_conv": "conv_stem",
            "classifier": "classifier",
        },
        **(config or {}),
    }
    files = {"config.json": json.dumps(content).encode(), "model.safetensors": safetensors.torch.save(state)}
    return files, state


def fill_cache(cache: Path, repository: str, files: Mapping[str, bytes], commit: str = COMMIT) -> Path:
    """Lay a repository out as the client's cache does (blobs, snapshots, refs) and return its snapshot."""
    home = cache / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir()
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for name, content in files.items():
        blob = home / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve files by path on the loopback interface; yields the address and a record of the requests."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            requests.append(f"{self.command} {path}")
            content = files.get(path)
            self.send_response(200 if content is not None else 404)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            content = content or b""
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hub_paths(repository: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return files under the paths by which a hub serves the main branch of a repository."""
    return {f"/{repository}/resolve/main/{name}": content for name, content in files.items()}
