"""A small server with the API of the Hugging Face Hub, as its client library uses it.

It answers what a model is (its commit, files, sizes and license), and its files: small ones itself, weights
by a redirect to a storage that takes ranges. Models may be gated or unknown, and the server may fail.

Uploads create a repository, say how each file is to come, take large files in the storage (Git LFS), check
their digests, and make one commit of all.
"""

import base64
import hashlib
import json
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from tests.factories.chat_server import Handler, Server

from mien.weights import hub

GRANTED, DENIED, EXPIRED = "hf_granted", "hf_denied", "hf_expired"  # tokens
_MODEL = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)(?:/revision/(?P<revision>.+))?")
_TREE = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>.+)")
_PREUPLOAD = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/preupload/(?P<revision>.+)")
_COMMIT = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/commit/(?P<revision>.+)")
_LFS = re.compile(r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
_FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_HANGS = 20  # seconds; so that a client without a time limit gets an answer, too late


@dataclass
class Repository:
    """A model: the files of each commit, and which commits its branches and tags are."""

    license: str | None
    gated: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)  # sizes that are not true
    private: bool = False

    def commit(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


class HubServer(Server):
    """Serves repositories and records its requests.

    Attributes:
        requests: method and path of each.
        ranges: those that were asked for.
        objects: what was uploaded to the storage, by SHA-256.
        fault: What happens to the next requests: "503", "hang", "drop" (no answer) or "portal" (the page of a
            network that wants a login); to weights only: "cut" (once, in the middle) or "reset".
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.fault: str | None = None
        super().__init__(_HubHandler)

    @property
    def url(self) -> str:
        return super().url.removesuffix("/v1")

    def add(
        self,
        name: str,
        files: Mapping[str, bytes] | Path,
        *,
        refs: Sequence[str] = ("main",),
        license: str | None = "mit",
        gated: bool = False,
    ) -> str:
        """Adds a commit with these files, or those of a folder, to a model; returns its hash."""
        if isinstance(files, Path):
            paths = [path for path in files.rglob("*") if path.is_file()]
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in paths}
        repository = self.repositories.setdefault(name, Repository(license, gated))
        digest = hashlib.sha1(name.encode(), usedforsecurity=False)
        for file, content in sorted(files.items()):
            digest.update(file.encode() + b"\0" + content)
        commit = digest.hexdigest()
        repository.commits[commit] = dict(files)
        repository.refs |= dict.fromkeys(refs, commit)
        return commit

    @property
    def look_ups(self) -> list[str]:
        """The paths of requests that ask what a model is."""
        return [path for _, path in self.requests if path.startswith("/api/")]

    @property
    def downloads(self) -> list[str]:
        """The names of the files that were sent, in order."""
        paths = [path for method, path in self.requests if method == "GET" and not path.startswith("/api/")]
        return [path.rpartition("/")[2] for path in paths]


class _HubHandler(Handler):
    server: HubServer

    def do_HEAD(self) -> None:  # noqa: N802  # http.server goes by these names
        self.do_GET()

    def do_GET(self) -> None:  # noqa: N802
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        if self.server.fault == "hang":
            self.server.closing.wait(_HANGS)
        if self.server.fault == "503":
            self.answer(503, b"")
        elif self.server.fault == "portal":
            self.answer(200, b"<html>Log in</html>")
        elif self.server.fault == "drop":
            self.close_connection = True
        elif self._token() == EXPIRED:
            self.answer(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif model := _MODEL.fullmatch(path):
            self._describe_model(model["name"], model["revision"] or "main")
        elif tree := _TREE.fullmatch(path):
            self._list_files(tree["name"], tree["revision"])
        elif file := _FILE.fullmatch(path):
            self._send_file(file["name"], file["revision"], file["file"])
        elif path.startswith("/storage/"):
            account, model_name, revision, file_name = path.removeprefix("/storage/").split("/", 3)
            self._send_stored(f"{account}/{model_name}", revision, file_name)
        else:
            self.answer(404, b"")

    # --- Uploads ---

    def do_POST(self) -> None:  # noqa: N802
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        body = self.content()
        if self.server.fault == "503":
            self.answer(503, b"")
        elif self._token() != GRANTED:
            self._refuse_upload()
        elif path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif preupload := _PREUPLOAD.fullmatch(path):
            self._preupload(preupload["name"], json.loads(body))
        elif lfs := _LFS.fullmatch(path):
            self._offer_storage(lfs["name"], json.loads(body))
        elif commit := _COMMIT.fullmatch(path):
            self._commit(commit["name"], commit["revision"], [json.loads(line) for line in body.splitlines()])
        else:
            self.answer(404, b"")

    def do_PUT(self) -> None:  # noqa: N802
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        content, oid = self.content(), path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            self.answer(400, b"")
        else:
            self.server.objects[oid] = content
            self.answer(200, b"", {"ETag": f'"{oid}"'})

    def _refuse_upload(self) -> None:
        if self._token() == DENIED:
            self.answer(403, b"", {"X-Error-Message": "You don't have the rights to create a model here"})
        else:
            self.answer(401, b"", {"X-Error-Message": "Invalid username or password."})

    def _create(self, body: Mapping[str, Any]) -> None:
        name = f"{body['organization']}/{body['name']}"
        if name in self.server.repositories:
            self.answer(
                409, {"error": "You already created this model repo", "url": f"{self.server.url}/{name}"}
            )
            return
        private = bool(body.get("private")) or body.get("visibility") == "private"
        repository = Repository(license=None, gated=False, private=private)
        self.server.repositories[name] = repository
        first = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        repository.commits[first], repository.refs["main"] = {}, first
        self.answer(200, {"url": f"{self.server.url}/{name}", "name": name, "id": "0"})

    def _preupload(self, name: str, body: Mapping[str, Any]) -> None:
        if self._find(name, "main") is None:
            return
        rows = [
            {
                "path": file["path"],
                "uploadMode": "lfs"
                if file["path"].endswith((".safetensors", ".bin", ".onnx"))
                else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in body["files"]
        ]
        self.answer(200, {"files": rows, "commitOid": self.server.repositories[name].refs["main"]})

    def _offer_storage(self, name: str, body: Mapping[str, Any]) -> None:
        rows = []
        for item in body["objects"]:
            place = {"href": f"{self.server.url}/objects/{item['oid']}", "header": {}}
            rows.append(
                {**item, **({} if item["oid"] in self.server.objects else {"actions": {"upload": place}})}
            )
        self.answer(200, {"transfer": "basic", "objects": rows})

    def _commit(self, name: str, revision: str, lines: Sequence[Mapping[str, Any]]) -> None:
        found = self._find(name, revision)
        if found is None:
            return
        repository, parent = found
        files = dict(repository.commits[parent])
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        commit = self.server.add(name, files, refs=(revision,))
        address = f"{self.server.url}/{name}/commit/{commit}"
        self.answer(200, {"success": True, "commitOid": commit, "commitUrl": address, "hookOutput": ""})

    # --- Answers ---

    def answer(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        if self.command == "HEAD":
            assert isinstance(value, bytes)
            self.send_response(status)
            for name, text in {"Content-Length": str(len(value)), **(headers or {})}.items():
                self.send_header(name, text)
            self.end_headers()
        else:
            super().answer(status, value, headers)

    def refuse(self, status: int, code: str, message: str) -> None:
        self.answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _find(self, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and self._token() != GRANTED):
            if self._token() is None:  # the Hub does not say which private models exist
                self.answer(401, b"", {"X-Error-Message": "Invalid username or password."})
            else:
                self.refuse(404, "RepoNotFound", "Repository not found")
            return None
        commit = repository.commit(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, commit

    def _describe_model(self, name: str, revision: str) -> None:
        found = self._find(name, revision)
        if found is None:
            return
        repository, commit = found
        siblings: list[dict[str, Any]] = [{"rfilename": file} for file in repository.commits[commit]]
        for sibling in siblings if "blobs=" in self.path else ():
            file = sibling["rfilename"]
            content = repository.commits[commit][file]
            sibling |= {"size": repository.claimed.get(file, len(content)), "blobId": _etag(content)}
        license = repository.license
        self.answer(
            200,
            {
                "_id": "0",
                "id": name,
                "modelId": name,
                "sha": commit,
                "private": repository.private,
                "gated": "manual" if repository.gated else False,
                "disabled": False,
                "tags": [f"license:{license}"] if license else [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
                "cardData": {"license": license} if license else None,
            },
        )

    def _list_files(self, name: str, revision: str) -> None:
        found = self._find(name, revision)
        if found is not None:
            files = found[0].commits[found[1]]
            rows = [
                {"type": "file", "path": file, "size": len(content), "oid": _etag(content)}
                for file, content in files.items()
            ]
            self.answer(200, rows)

    def _send_file(self, name: str, revision: str, file: str) -> None:
        found = self._find(name, revision)
        if found is None:
            return
        repository, commit = found
        if repository.gated and self._token() != GRANTED:
            status = 403 if self._token() else 401
            self.refuse(status, "GatedRepo", f"Access to model {name} is restricted.")
            return
        content = repository.commits[commit].get(file)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            self.answer(404, b"", headers | {"X-Error-Code": "EntryNotFound"})
        elif file.endswith((".safetensors", ".bin")):
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{_etag(content)}"'}
            # Another origin, as on the Hub; the client must not send its token there.
            storage = self.server.url.replace("127.0.0.1", "localhost")
            place = {"Location": f"{storage}/storage/{name}/{commit}/{file}"}
            self.answer(302, b"", headers | linked | place)
        else:
            self.answer(200, content, headers | {"ETag": f'"{_etag(content)}"'})

    def _send_stored(self, name: str, commit: str, file: str) -> None:
        content = self.server.repositories[name].commits[commit][file]
        asked = self.headers.get("Range") or "bytes=0-"
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start:
            self.server.ranges.append(asked)
        if self.server.fault in ("cut", "reset"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if self.server.fault == "reset":  # closing at once, without lingering, sends one
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
            else:
                self.server.fault = None
            self.close_connection = True
        elif start:
            size = len(content)
            self.answer(206, content[start:], {"Content-Range": f"bytes {start}-{size - 1}/{size}"})
        else:
            self.answer(200, content)


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A server that runs inside the block."""
    server = HubServer()
    try:
        yield server
    finally:
        server.close()


def settings(server: HubServer, home: Path) -> dict[str, str]:
    """The environment of a process that uses the server instead of the Hub."""
    return {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home / "hf"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }


def sham_files(weights: str = "weights") -> dict[str, bytes]:
    """Files with the names of a model's, for commands that find a model but do not load it."""
    return {
        "config.json": b"{}",
        "README.md": b"# A model",
        "model.safetensors": weights.encode(),
        "onnx/model.safetensors": b"the same for others",
    }


@pytest.fixture
def own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub for this process, and an empty cache."""
    with hub_server() as running:
        for name, value in settings(running, tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        files = f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(hub, "_models", {})
        yield running
