"""docs/models.md says what the presets say; `make model-page` writes it anew."""

from __future__ import annotations

import sys
from pathlib import Path

from geodata.zoo import InputSpec, missing, presets

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"

HEAD = """# Model inputs that come with geodata

`InputSpec.preset(name)` gives each of them; every number was read in the source named beside it. `make model-page` writes this page from the presets.

"""


def page() -> str:
    rows = ["| name | takes | source |", "|---|---|---|"]
    for name in presets():
        spec = InputSpec.preset(name)
        takes = "<br>".join(
            f"`{image.key}`: {len(image.bands) or 'any'} bands, {image.unit}"
            + (f" × {image.factor:g}" if image.factor != 1 else "")
            + (f", {' × '.join(map(str, image.model_size))}" if image.model_size else "")
            + (f", {', '.join(step.do for step in image.steps)}" if image.steps else "")
            for image in spec.images
        )
        extras = f"<br>with {', '.join(spec.extras)}" if spec.extras else ""
        notes = f"<br>{spec.notes}" if spec.notes else ""
        rows.append(f"| `{name}` | {spec.title}<br>{takes}{extras} | {spec.source}{notes} |")
    rows += ["", "## Known, and not shipped", "", "| model | why |", "|---|---|"]
    rows += [f"| {name} | {why} |" for name, why in missing().items()]
    return HEAD + "\n".join(rows) + "\n"


def test_the_page_is_what_the_presets_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make model-page`"


def test_pages_that_count_the_presets_count_right() -> None:
    project = PAGE.parents[1]
    assert f"{len(presets())} published models" in (project / "README.md").read_text(encoding="utf-8")
    assert f"{len(presets())} presets" in (project / "CHANGELOG.md").read_text(encoding="utf-8")


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(page(), encoding="utf-8")
