"""The hub: a repository's files brought into the cache, or a sentence that says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from medinterp.errors import ModelError, ModelNotFoundError

_SMALL = ("*.json", "*.jinja", "*.model", "*.txt")
"""What stands beside the weights: configs, tokenizers, templates. Never *.bin, *.pt or *.py."""


def snapshot(name: str, revision: str | None, *, allow_download: bool) -> Path:
    """The directory in the hub's cache that holds a repository at one commit, whose name the directory has.

    Downloaded where it may be and something is missing: the small files first, then those weights in safetensors that
    they ask for. The token is that of HF_TOKEN or of the file that HF_TOKEN_PATH names, as huggingface_hub reads them.
    Offline (HF_HUB_OFFLINE=1) and without `allow_download` no connection is opened.
    Raises ModelNotFoundError, with what to do.
    """
    directory = _download(name, revision, _SMALL, allow_download)
    return _download(name, directory.name, (*_SMALL, *_weights(directory)), allow_download)


def _weights(directory: Path) -> Iterable[str]:
    """The files of weights that the small files ask for; a repository may hold others, which are not fetched."""
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return ("model.safetensors", "adapter_model.safetensors")
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is not an index of weights: fetch the repository again") from error


def _download(name: str, revision: str | None, patterns: Iterable[str], allow_download: bool) -> Path:
    from huggingface_hub import constants, errors, snapshot_download

    offline = constants.HF_HUB_OFFLINE or not allow_download
    at = f" at revision {revision!r}" if revision else ""
    page = f"{constants.ENDPOINT}/{name}"
    try:
        found = snapshot_download(
            name, revision=revision, allow_patterns=list(patterns), local_files_only=offline, max_workers=4
        )
        return Path(found)
    except errors.GatedRepoError as error:
        told = f"{name} is gated: visit {page}, accept its licence there, and set HF_TOKEN to a token of that account"
        fault: Exception = error
    except errors.RepositoryNotFoundError as error:
        told = (
            f"the hub has no repository {name}, or a private one that your token may not read: see whether {page} "
            "opens, and set HF_TOKEN (or HF_TOKEN_PATH, a file) where it is private"
        )
        fault = error
    except errors.RevisionNotFoundError as error:
        told = f"{name} has no revision {revision!r}: {page}/commits/main lists them"
        fault = error
    except errors.LocalEntryNotFoundError as error:
        because = (
            "Downloads are switched off here (HF_HUB_OFFLINE=1, or allow_download=False)"
            if offline
            else f"{constants.ENDPOINT} cannot be reached"
        )
        told = (
            f"{name}{at} is not, or not whole, in the hub's cache ({constants.HF_HUB_CACHE}). {because}: fetch it "
            f"where there is a network (`hf download {name}`, with HF_TOKEN where it is gated), or name a directory "
            "that holds it"
        )
        fault = error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        told = (
            f"the hub refused the token (HTTP 401) when {name} was asked for: HF_TOKEN is wrong or has expired; make "
            f"another on {constants.ENDPOINT}/settings/tokens"
            if code == 401
            else f"the hub answered HTTP {code} when {name} was asked for: try again later"
        )
        fault = error
    except errors.HFValidationError as error:
        told, fault = f"{name!r} is no hub id (owner/name)", error
    except OSError as error:
        told = f"{name} could not be fetched into {constants.HF_HUB_CACHE}: {error.strerror or type(error).__name__}"
        fault = error
    raise ModelNotFoundError(told) from fault
