"""The page with two more listed models: `pico` and `pico-terms` come in a wheel, the latter with terms."""

import os
import runpy

from model_zoo.catalog import CATALOG, CatalogEntry
from model_zoo.wheels import Terms, Wheel, WheelWeights

WHEEL = Wheel(
    "pico-model==1.0", os.environ["PICO_WHEEL"], int(os.environ["PICO_SIZE"]), "pico_model/pico.gguf"
)
TERMS = Terms("Pico <b>Terms</b>", "http://127.0.0.1/terms", WHEEL)
for name, title, terms in (("pico", "Pico", None), ("pico-terms", "Pico with terms", TERMS)):
    weights = WheelWeights(name, "pico.gguf", os.environ["PICO_GGUF"], (WHEEL,), terms)
    CATALOG[name] = CatalogEntry(name, title, weights, parameters=1, licence="MIT licence")

runpy.run_path("app.py", run_name="__main__")
