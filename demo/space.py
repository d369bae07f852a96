"""`make space`: assemble the folder to push to a Hugging Face Space, and check what a Space demands."""

import re
import shutil
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PARTS = ("README.md", "LICENSE", "app.py", "requirements.txt", "demo", "model_zoo", "assets")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
WANTED = (
    "title",
    "emoji",
    "colorFrom",
    "colorTo",
    "sdk",
    "sdk_version",
    "python_version",
    "app_file",
    "license",
    "short_description",
)
MAX_FILE = 10 * 2**20  # bytes; larger files need Git LFS or Xet
MAX_DESCRIPTION = 60  # characters


def front_matter(readme: str) -> dict:
    """The YAML block on top of README.md; {} when there is none."""
    match = re.match(r"---\n(.*?)\n---\n", readme, re.S)
    return yaml.safe_load(match[1]) if match else {}


def problems(folder: Path) -> list[str]:
    """What a Space would stumble over, one sentence each."""
    found = []
    matter = front_matter((folder / "README.md").read_text(encoding="utf-8"))
    if missing := [key for key in WANTED if key not in matter]:
        return [f"README.md's front matter lacks {', '.join(missing)}."]
    if matter["sdk"] != "gradio":
        found.append(f"The front matter's sdk is {matter['sdk']}, and this is a gradio app.")
    pinned = re.search(r"^gradio==(\S+)$", (folder / "requirements.txt").read_text(encoding="utf-8"), re.M)
    if not pinned or pinned[1] != str(matter["sdk_version"]):
        found.append(
            f"The front matter's sdk_version is {matter['sdk_version']}, "
            f"requirements.txt pins gradio {pinned and pinned[1]}."
        )
    if tuple(map(int, str(matter["python_version"]).split("."))) < (3, 11):
        found.append(
            f"The front matter's python_version is {matter['python_version']}; the program needs 3.11."
        )
    if not (folder / matter["app_file"]).exists():
        found.append(f"The front matter's app_file {matter['app_file']} is not there.")
    if len(matter["short_description"]) > MAX_DESCRIPTION:
        found.append(
            f"The short_description is {len(matter['short_description'])} characters long; "
            f"a Space takes {MAX_DESCRIPTION}."
        )
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size > MAX_FILE:
            size = f"{path.stat().st_size / 2**20:.1f} MiB"
            found.append(f"{path.relative_to(folder)} is {size}; a Space takes 10 MiB without LFS.")
    return found


def assemble(out: Path) -> Path:
    """Copy what a Space needs into an empty or new folder. ValueError lists the problems."""
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, out / part, ignore=LEFT_OUT)
        else:
            shutil.copyfile(source, out / part)
    if found := problems(out):
        raise ValueError(" ".join(found))
    return out


def main(arguments: list[str]) -> int:
    out = Path(arguments[0] if arguments else "space")
    try:
        assemble(out)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 2**20:.1f} MiB, ready to push:  hf upload --repo-type space <you>/<name> {out} .")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
