"""A thin supernet behind the server: kept presets answer as before, others are refused."""

from pathlib import Path

from fastapi.testclient import TestClient

from derailleur import serving
from derailleur.engine import Engine
from derailleur.model.export import plan_export, write_export
from derailleur.placement import Placement
from derailleur.placement.presets import load_presets
from derailleur.tokens import Tokenizer


def test_kept_presets_answer_as_before(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    presets = load_presets(folder).subset(["fast", "balanced"])
    presets.save(tmp_path)
    write_export(plan_export(folder, "thin", list(presets.values())), folder, tmp_path)
    engine = Engine(tmp_path, tokenizer)
    model = serving.ServedModel("thin", tokenizer, load_presets(tmp_path), engine.max_context)
    whole = Engine(folder, tokenizer)
    prompt = "def load(stream):\n"
    with TestClient(serving.create_app(model, serving.EngineWorker(engine))) as client:
        listed = client.get("/v1/models").json()["data"]
        assert [entry["id"] for entry in listed] == ["thin", "thin@fast", "thin@balanced"]
        for name, letters in (("fast", "GGGG"), ("balanced", "FSKG")):
            body = {"prompt": prompt, "max_tokens": 12, "temperature": 0, "model": f"thin@{name}"}
            body["draft"] = "fast"
            text = client.post("/v1/completions", json=body).json()["choices"][0]["text"]
            [alone] = whole.generate([tokenizer.encode(prompt)], placement=Placement(letters), max_tokens=12)
            assert text == alone.text
        refused = client.post("/v1/completions", json={"prompt": prompt, "placement": "all-fa"})
        assert refused.status_code == 400
        assert "mixer 'F' is not in this layer" in refused.json()["error"]["message"]
