"""A small Hub: the endpoints that huggingface_hub asks for, over real HTTP on localhost, with faults to
order.

Repos are {path: bytes} per commit. Large files (`LFS` endings) travel the LFS way, as on the Hub.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS = (".safetensors", ".bin")


@dataclass
class Repo:
    files: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None  # needed to see it
    gated: bool = False
    history: dict[str, dict[str, bytes]] = field(default_factory=dict)
    head: str = ""

    def commit(self, files: dict[str, bytes]) -> str:
        self.files = {**self.files, **files}
        digest = hashlib.sha1(
            repr(sorted((k, hashlib.sha256(v).hexdigest()) for k, v in self.files.items())).encode()
        ).hexdigest()
        self.history[digest], self.head = dict(self.files), digest
        return digest

    def tags(self) -> list[str]:
        card = self.files.get("README.md", b"").decode()
        if not card.startswith("---"):
            return []
        front = yaml.safe_load(card.split("---")[1])
        return [
            *front.get("tags", []),
            *([f"base_model:{front['base_model']}"] if "base_model" in front else []),
        ]


@dataclass
class Hub:
    """`fail`: path pattern -> status; `truncate`, `corrupt`: file endings; `delay`: seconds before every
    answer; `slow`: path pattern -> seconds before answers about it.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    fail: dict[str, int] = field(default_factory=dict)
    announce: dict[str, int] = field(default_factory=dict)  # file -> the size that is claimed
    truncate: str | None = None
    corrupt: str | None = None
    delay: float = 0.0
    slow: dict[str, float] = field(default_factory=dict)
    write_token: str = "writer"
    url: str = ""

    def add(self, name: str, files: dict[str, bytes], **kwargs) -> str:
        repo = self.repos.setdefault(name, Repo(**kwargs))
        return repo.commit(files)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *args):
        pass

    def send(self, status: int, data: bytes | dict | list = b"", **headers: str) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        # one request a connection, so that a stopped server is really gone
        for key, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def token(self) -> str | None:
        return (self.headers.get("authorization") or "").removeprefix("Bearer ") or None

    def handle_any(self) -> None:
        path, self.body = (
            unquote(urlsplit(self.path).path),
            self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        self.hub.requests.append(f"{self.command} {path}")
        time.sleep(
            self.hub.delay
            + sum(seconds for pattern, seconds in self.hub.slow.items() if re.search(pattern, path))
        )
        for pattern, status in self.hub.fail.items():
            if re.search(pattern, path):
                return self.send(status, {"error": "ordered"})
        for method, pattern, answer in _ROUTES:
            if method in (self.command, "GET" if self.command == "HEAD" else "") and (
                match := re.fullmatch(pattern, path)
            ):
                return answer(self, *match.groups())
        self.send(404, {"error": "no such route"}, X_Error_Code="EntryNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def repo(self, name: str) -> Repo | None:
        """The repo if the caller may see it; else the Hub's own refusal is sent."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.token and self.token() not in (repo.token, self.hub.write_token)):
            return self.send(401, {"error": "not found"}, X_Error_Code="RepoNotFound")
        if repo.gated and not self.token():
            return self.send(401, {"error": "gated"}, X_Error_Code="GatedRepo")
        return repo

    def files_at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if (repo := self.repo(name)) is None:
            return None
        commit = repo.head if revision == "main" else revision
        if commit not in repo.history:
            return self.send(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
        return commit, repo.history[commit]

    def info(self, name: str, revision: str | None = None) -> None:
        if found := self.files_at(name, revision or "main"):
            commit, files = found

            def claimed(path: str, data: bytes) -> dict:
                announced = self.hub.announce
                return _metadata(path, data) | ({"size": announced[path]} if path in announced else {})

            siblings = [{"rfilename": p, **claimed(p, d)} for p, d in files.items()]
            self.send(
                200,
                {
                    "id": name,
                    "modelId": name,
                    "sha": commit,
                    "private": False,
                    "tags": [],
                    "siblings": siblings,
                },
            )

    def tree(self, name: str, revision: str) -> None:
        if found := self.files_at(name, revision):
            self.send(
                200,
                [
                    {"type": "file", "path": p, "oid": _etag(p, d), **_metadata(p, d)}
                    for p, d in found[1].items()
                ],
            )

    def resolve(self, name: str, revision: str, path: str) -> None:
        if not (found := self.files_at(name, revision)):
            return
        commit, files = found
        if path not in files:
            return self.send(404, {"error": "no file"}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        data, etag = files[path], _etag(path, files[path])
        if self.hub.corrupt and path.endswith(self.hub.corrupt):
            data = bytes(len(data))
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if self.hub.truncate and path.endswith(self.hub.truncate) and self.command == "GET":
            self.send_response(200)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self.send(200, data, **headers)

    def models(self) -> None:
        wanted = parse_qs(urlsplit(self.path).query).get("filter", [])
        seen = {n: r for n, r in self.hub.repos.items() if not r.token and set(wanted) <= set(r.tags())}
        self.send(200, [{"id": n, "sha": r.head, "tags": r.tags(), "downloads": 0} for n, r in seen.items()])

    # ---- writing

    def may_write(self) -> bool:
        if self.token() == self.hub.write_token:
            return True
        self.send(401, {"error": "Invalid username or password."})
        return False

    def create(self) -> None:
        if self.may_write():
            wanted = json.loads(self.body)
            name = (
                f"{wanted.get('organization')}/{wanted['name']}"
                if wanted.get("organization")
                else wanted["name"]
            )
            if name in self.hub.repos:
                return self.send(409, {"error": "exists", "url": f"{self.hub.url}/{name}"})
            self.hub.repos[name] = Repo(
                token=self.hub.write_token if wanted.get("visibility") == "private" else None
            )
            self.hub.repos[name].commit({".gitattributes": b""})
            self.send(200, {"url": f"{self.hub.url}/{name}"})

    def yaml(self) -> None:
        self.send(200, {"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        if self.may_write():
            asked = json.loads(self.body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(LFS) else "regular",
                    "shouldIgnore": False,
                }
                for f in asked
            ]
            self.send(200, {"files": modes})

    def lfs_batch(self, name: str) -> None:
        objects = []
        for o in json.loads(self.body)["objects"]:
            actions = (
                {}
                if o["oid"] in self.hub.blobs
                else {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{o['oid']}", "header": {}}}}
            )
            objects.append({"oid": o["oid"], "size": o["size"], **actions})
        self.send(200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")

    def lfs_put(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.blobs[oid] = self.body
        self.send(200)

    def commit(self, name: str, revision: str) -> None:
        if not self.may_write():
            return
        files = {}
        for line in self.body.decode().splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.hub.blobs[item["value"]["oid"]]
        oid = self.hub.repos[name].commit(files)
        self.send(
            200, {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid, "hookOutput": ""}
        )


_NAME = r"([^/]+/[^/]+)"
_ROUTES = [
    ("GET", r"/api/models", _Handler.models),
    ("GET", rf"/api/(?:models|datasets)/{_NAME}/revision/([^/]+)", _Handler.info),
    ("GET", rf"/api/(?:models|datasets)/{_NAME}/tree/([^/]+)", _Handler.tree),
    ("GET", rf"/api/(?:models|datasets)/{_NAME}", _Handler.info),
    ("GET", rf"/(?:datasets/)?{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
    ("POST", r"/api/repos/create", _Handler.create),
    ("POST", r"/api/validate-yaml", _Handler.yaml),
    ("POST", rf"/api/models/{_NAME}/preupload/([^/]+)", _Handler.preupload),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", r"/lfs/([0-9a-f]+)", _Handler.lfs_put),
    ("POST", rf"/api/models/{_NAME}/commit/([^/]+)", _Handler.commit),
]


def _metadata(path: str, data: bytes) -> dict:
    large = {
        "lfs": {
            "oid": hashlib.sha256(data).hexdigest(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "pointerSize": 130,
        }
    }
    return {"size": len(data), "blobId": _etag(path, data), **(large if path.endswith(LFS) else {})}


def _etag(path: str, data: bytes) -> str:
    if path.endswith(LFS):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class HubServer:
    """A hub on a fixed port of this machine; `stop` cuts the network, `start` brings it back."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.hub = Hub(url=f"http://127.0.0.1:{self.port}")
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> Hub:
        """Serve from a clean slate."""
        self.stop()
        self.hub.__init__(url=self.hub.url)
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        self._server.hub = self.hub
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self.hub

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
