"""The Hugging Face Hub over HTTP: fetch a repo at a pinned commit, publish a folder, search. Knows nothing of
what is inside.

Every fault becomes one sentence (`HubError`). Offline first: what is cached and pinned makes no request at
all. Only the patterns asked for are fetched, and nobody asks for a pickle.
"""

import errno
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, cast

from huggingface_hub import HfApi, constants, get_session, get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import DatasetInfo, ModelInfo
from tqdm import tqdm

from .cache import check_room, sha256_of
from .progress import readable

try:
    import httpx2  # what huggingface_hub speaks from 2.4 on
except ImportError:
    import httpx as httpx2  # type: ignore[no-redef]

TIMEOUT = 1.5  # seconds for a question that downloads nothing
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NO_NETWORK = (
    httpx2.ConnectError,
    httpx2.TimeoutException,
    httpx2.NetworkError,
    httpx2.ProtocolError,
    OfflineModeIsEnabled,
)

Report = Callable[[int, int], None]  # (bytes done, bytes in all); it may raise to stop the download


class HubError(ValueError):
    """What went wrong between here and the Hub, in one sentence."""


@dataclass(frozen=True)
class Snapshot:
    """A repo's files at one commit, in the local cache."""

    folder: Path
    repo: str
    commit: str


def split_revision(source: str, revision: str | None = None) -> tuple[str, str | None]:
    """`org/name@revision` -> its two parts; an explicit `revision` wins."""
    repo, _, written = source.partition("@")
    return repo, revision or written or None


def fetch(
    source: str,
    patterns: Sequence[str],
    revision: str | None = None,
    report: Report | None = None,
    repo_type: str = "model",
) -> Snapshot:
    """The repo's files that match `patterns`, at the commit its revision points to; without a network the
    cached ones.

    `source` is `org/name` or `org/name@revision`. A cached commit hash makes no request.
    """
    repo, revision = split_revision(source, revision)
    how: dict[str, Any] = {"allow_patterns": list(patterns), "repo_type": repo_type}
    if revision and _COMMIT.fullmatch(revision) and (cached := _cached(repo, revision, how)):
        return cached
    try:
        info = HfApi().repo_info(
            repo, revision=revision, repo_type=repo_type, files_metadata=True, timeout=TIMEOUT
        )
    except Exception as error:
        if isinstance(error, _NO_NETWORK) and (cached := _cached(repo, revision, how)):
            return cached
        raise explained(error, repo, revision) from error
    # with all files cached the download only notes where the branch points now, so that it is found again
    # without a network
    wanted = {} if _cached(repo, info.sha, how) else _wanted(cast(ModelInfo, info), patterns)
    size = sum(size for size, _ in wanted.values())
    check_room(size, f"'{repo}'", Path(constants.HF_HUB_CACHE), "HF_HOME", HubError)
    try:
        folder = Path(snapshot_download(repo, revision=revision or "main", tqdm_class=_bar(report), **how))
    except Exception as error:
        raise explained(error, repo, revision) from error
    _verify(repo, folder, wanted)
    return Snapshot(folder, repo, folder.name)


def is_cached(source: str) -> bool:
    """Whether a model's weights of this repo lie in the local cache; makes no request."""
    repo, revision = split_revision(source)
    cached = _cached(repo, revision, {"allow_patterns": ["*.safetensors"]})
    return cached is not None and any(cached.folder.glob("*.safetensors"))


def _cached(repo: str, revision: str | None, how: dict) -> Snapshot | None:
    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True, **how))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return Snapshot(folder, repo, folder.name)


def _wanted(info: ModelInfo | DatasetInfo, patterns: Sequence[str]) -> dict[str, tuple[int, str | None]]:
    """{file: (bytes, its sha256 where the Hub knows it)} of the files to download; refuses names that leave
    the folder.
    """
    files = {}
    for file in info.siblings or ():
        path = PurePosixPath(file.rfilename)
        if path.is_absolute() or ".." in path.parts or "\\" in file.rfilename:
            raise HubError(
                f"'{info.id}' lists a file named '{file.rfilename}', which would land outside its folder; "
                "nothing was downloaded."
            )
        if any(fnmatch(file.rfilename, pattern) for pattern in patterns):
            files[file.rfilename] = (file.size or 0, file.lfs.sha256 if file.lfs else None)
    if not files:
        raise HubError(
            f"'{info.id}' holds none of the files needed here ({', '.join(patterns)}); it may be another "
            "kind of repo."
        )
    return files


def _verify(repo: str, folder: Path, wanted: dict[str, tuple[int, str | None]]) -> None:
    """Compare what was downloaded with the sizes and hashes that the Hub lists; a broken file is removed, not
    kept.
    """
    for name, (size, sha) in wanted.items():
        path = folder / name
        found = path.stat().st_size
        if found == size and (sha is None or sha256_of(path) == sha):
            continue
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        what = (
            f"{readable(found)} long instead of {readable(size)}"
            if found != size
            else "not what the Hub's checksum says"
        )
        raise HubError(f"'{name}' of '{repo}' arrived broken: it is {what}. It was removed; try again.")


def _bar(report: Report | None) -> type[tqdm]:
    """A silent progress bar that tells `report` how many bytes have come."""

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            self.counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **kwargs, disable=False, file=io.StringIO())

        def update(self, n=1):
            if report and self.counts_bytes and self.total:
                report(int(self.n + (n or 0)), int(self.total))
            return super().update(n)

    return Bar


def publish(folder: Path, repo: str, files: Sequence[str], private: bool = False) -> str:
    """Create the repo where it is missing and upload the named files; returns the commit."""
    try:
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        info = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(files),
            commit_message="Upload by InstructEdit Studio",
        )
    except Exception as error:
        raise explained(error, repo, None) from error
    return info.oid


def address(repo: str, commit: str) -> str:
    """Where a person reads a repo at a commit."""
    return f"{constants.ENDPOINT}/{repo}/tree/{commit}"


def search(*tags: str, limit: int = 20) -> list[dict]:
    """Models that carry all the tags, as the Hub's JSON, most downloaded first. One request, no retries: a
    page waits for it.
    """
    params: list[tuple[str, str | int | float | bool | None]] = [
        *(("filter", tag) for tag in tags),
        ("sort", "downloads"),
        ("limit", str(limit)),
        ("full", "true"),
    ]
    headers = {"authorization": f"Bearer {token}"} if (token := get_token()) else {}
    try:
        answer = get_session().get(
            f"{constants.ENDPOINT}/api/models", params=params, headers=headers, timeout=TIMEOUT
        )
        answer.raise_for_status()
        return answer.json()
    except Exception as error:
        raise explained(error, "the list of editors", None) from error


def explained(error: Exception, repo: str, revision: str | None) -> Exception:
    """The error as a sentence that says what to do; an error of ours, or one unforeseen, as it is."""
    status = (
        error.response.status_code if isinstance(error, HfHubHTTPError | httpx2.HTTPStatusError) else None
    )
    if isinstance(error, HubError):
        return error
    if isinstance(error, GatedRepoError):
        return HubError(
            f"'{repo}' is gated: accept its terms at {constants.ENDPOINT}/{repo}, then log in with 'hf auth "
            "login' or set HF_TOKEN."
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"'{repo}' has no revision '{revision}'; check the branch, tag or commit.")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        has = (
            "the token in use has no access to it"
            if get_token()
            else "no token is set, and private repos need one (HF_TOKEN)"
        )
        return HubError(
            f"'{repo}' was not found on {constants.ENDPOINT}: the name may be wrong, or it is private and "
            f"{has}."
        )
    if isinstance(error, HFValidationError):
        named = repo if len(repo) <= 100 else f"{repo[:99]}…"
        return HubError(
            f"'{named}' is neither a folder here nor a Hub repo id, which reads 'organisation/name'."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(
            f"'{repo}' is not in the local cache, and HF_HUB_OFFLINE=1 forbids the network; unset it, or use "
            "what is cached."
        )
    if isinstance(error, httpx2.TimeoutException):
        return HubError(
            f"{constants.ENDPOINT} did not answer in time when asked for '{repo}'; the embedded model works "
            "without it. Try again later."
        )
    if isinstance(error, _NO_NETWORK) or isinstance(error, LocalEntryNotFoundError):
        return HubError(
            f"{constants.ENDPOINT} cannot be reached and '{repo}' is not in the local cache; the embedded "
            "model works without a network."
        )
    if status is not None:
        return HubError(f"{constants.ENDPOINT} answered {status} when asked for '{repo}'; try again later.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HubError(
            f"The disk is full: '{repo}' could not be stored in {constants.HF_HUB_CACHE}. Make room or set "
            "HF_HOME elsewhere."
        )
    if isinstance(error, OSError) and "onsistency check" in str(error):
        return HubError(
            f"A file of '{repo}' arrived broken: it is shorter than announced. Nothing of it was kept; try "
            "again."
        )
    return error
