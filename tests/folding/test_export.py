"""A folded network as ONNX: what onnxruntime computes from the file, and what is said where there is none."""

import json
import os

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import se_probe
from se_probe.errors import SeProbeError
from se_probe.folding import fold_gates, load_folded
from se_probe.folding.export import ONNX, ExportError, export_onnx, export_sentence, require_onnx
from se_probe.gates import GateRecorder, find_gates
from tests.told import told

SIZE = (3, 12, 12)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.norm, self.leave = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 4)
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
        )

    def forward(self, x):
        features = self.norm(self.enter(x))
        return self.leave((features * self.excite(features)).relu().mean((2, 3)))


def folded():
    torch.manual_seed(0)
    network, batch = Small().eval(), torch.randn(4, *SIZE)
    (site,) = find_gates(network, input_size=SIZE)
    with GateRecorder(network, [site]) as recorder, torch.no_grad():
        network(batch)
        mean = recorder.gates[site.name].mean(0).numpy()
    return network, fold_gates(network, {site: mean}, batch).network, batch


def test_the_file_computes_what_the_folded_network_does_for_any_number_of_images(tmp_path):
    before, after, batch = folded()
    facts = export_onnx(before, after, batch, tmp_path / ONNX)
    session = onnxruntime.InferenceSession(tmp_path / ONNX, providers=["CPUExecutionProvider"])
    for images in (1, 7):
        given = torch.randn(images, *SIZE)
        (found,) = session.run(None, {"input": given.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, after(given).numpy(), atol=1e-5)
    assert facts["deviation"] < 1e-5
    assert facts["bytes_after"] == os.path.getsize(tmp_path / ONNX) < facts["bytes_before"]
    assert facts["timing"]["batch"] == 4
    assert json.loads(json.dumps(facts)) == facts
    assert f"{facts['bytes_after'] / 1e6:.2f} MB after" in export_sentence(facts)


def test_a_file_that_computes_something_else_is_not_kept(tmp_path):
    class Training(Small):
        """Has another answer when it is exported."""

        def forward(self, x):
            return super().forward(x) * (2.0 if torch.compiler.is_exporting() else 1.0)

    _, _, batch = folded()
    network = Training().eval()
    with pytest.raises(
        ExportError, match=r"^its output deviates by \d\.\de.\d\d from the network's, 1e-04 is allowed$"
    ):
        export_onnx(network, network, batch, tmp_path / ONNX)
    assert not (tmp_path / ONNX).exists()


def test_a_network_that_torch_cannot_export_is_told_of(tmp_path):
    class Branching(Small):
        def forward(self, x):
            return super().forward(x if float(x.sum()) > 0 else -x)

    _, _, batch = folded()
    network = Branching().eval()
    with pytest.raises(ExportError, match=r"^torch cannot export it \("):
        export_onnx(network, network, batch, tmp_path / ONNX)
    assert export_sentence({"refusal": "because"}) == "not exported to ONNX: because"


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("se_probe.folding.export.PACKAGES", ("onnx", "no_such_package"))
    message = (
        r"^no_such_package is not installed, without which nothing is exported to ONNX; run: pip install "
        r'"se-probe\[onnx\]"\.$'
    )
    with pytest.raises(SeProbeError, match=message):
        require_onnx()


def test_a_fold_of_the_demo_leaves_a_file(tmp_path):
    with told() as lines:
        result = se_probe.fold(
            model="demo:se", demo=True, sites=["SE_5_3"], per_class=4, export="onnx", out=tmp_path, overwrite=True,
            workers=0, progress=False,
        )  # fmt: skip
    facts = json.loads((tmp_path / "run.json").read_text())["fold"]["export"]
    session = onnxruntime.InferenceSession(result.folder / ONNX, providers=["CPUExecutionProvider"])
    loaded = load_folded(result.folder)
    given = torch.randn(3, *loaded.input_size)
    (found,) = session.run(None, {"input": given.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, loaded.network(given).numpy(), atol=1e-4)
    assert facts["bytes_after"] < facts["bytes_before"]
    assert any(line.startswith("onnx") and "in onnxruntime" in line for line in lines)
