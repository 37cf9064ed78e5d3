"""Train the demo's networks on drawn stimuli, and write weights and model card: python -m tools.demo.train.

One thread, seeded, deterministic algorithms: the same machine and versions give the same weights bit for bit;
elsewhere the accuracy is what reproduces. Weight decay is off on everything that feeds a gate, because it
drives the excitation to zero and every gate to 0.5.
"""

import argparse
import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.layers import SEModule
from timm.layers.selective_kernel import SelectiveKernelAttn
from timm.layers.split_attn import SplitAttn

from se_probe.demo.networks import DEMO_MODELS, build_network
from se_probe.demo.stimuli import DEMO_INSTANCES
from tools.demo.evaluation import accuracy, accuracy_by_condition, gate_spreads, normalised, stimulus_batch
from tools.demo.model_card import Measured, library_versions, write_model_card

HELD_OUT = range(DEMO_INSTANCES)
VALIDATION = range(500, 530)
FIRST_TRAINING_INSTANCE = 1000


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained.

    Attributes:
        instances: number of training instances a class, from `FIRST_TRAINING_INSTANCE` on.
        epochs: passes over them.
        batch_size: pictures a step.
        learning_rate: peak of the one-cycle schedule.
        excitation_rate: factor on it for the layers that feed a gate; at full rate gates saturate at 1.
        gate_gain: factor on the initial weights of the layers that give the gate logits.
        weight_decay: decay of the weights that feed no gate.
        label_smoothing: share of the target spread over all classes.
        seed: of the weights, the order of the pictures and their augmentation.
    """

    instances: int = 600
    epochs: int = 7
    batch_size: int = 64
    learning_rate: float = 4e-3
    excitation_rate: float = 0.3
    gate_gain: float = 1.0
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    seed: int = 0


PLANS = {"se": TrainingPlan(excitation_rate=0.1, gate_gain=3.0), "sk": TrainingPlan(), "sa": TrainingPlan()}
"""The plan of each bundled network. A sigmoid drifts towards 1 unless its excitation learns slowly."""


def train(kind: str, plan: TrainingPlan) -> torch.nn.Module:
    """Train the demo network of this kind from random weights; returns it in eval mode."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(plan.seed)
    network = build_network(kind).to(memory_format=torch.channels_last)
    _widen_gates(network, plan.gate_gain)
    training = range(FIRST_TRAINING_INSTANCE, FIRST_TRAINING_INSTANCE + plan.instances)
    pixels, labels = stimulus_batch(training)
    optimiser = torch.optim.AdamW(_parameter_groups(network, plan))
    peaks = [group["lr"] for group in optimiser.param_groups]
    steps = -(-len(labels) // plan.batch_size) * plan.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=steps)
    network.train()
    for epoch in range(plan.epochs):
        started = time.monotonic()
        loss = _epoch(network, pixels, labels, optimiser, schedule, plan)
        print(f"{kind} epoch {epoch + 1}: loss {loss:.4f}, {time.monotonic() - started:.0f} s", flush=True)
    return network.eval()


def _epoch(
    network: torch.nn.Module,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    plan: TrainingPlan,
) -> float:
    losses = []
    for chosen in torch.randperm(len(labels)).split(plan.batch_size):
        scores = network(normalised(_with_changed_colours(pixels[chosen])))
        loss = torch.nn.functional.cross_entropy(scores, labels[chosen], label_smoothing=plan.label_smoothing)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _with_changed_colours(pixels: torch.Tensor) -> torch.Tensor:
    """A sixth of the pictures in grey, a quarter of them with their colour channels permuted."""
    changed = pixels.clone()
    fate = torch.rand(len(pixels))
    grey = fate < 1 / 6
    changed[grey] = changed[grey].float().mean(1, keepdim=True).to(torch.uint8).expand(-1, 3, -1, -1)
    permuted = fate > 3 / 4
    changed[permuted] = changed[permuted][:, torch.randperm(3)]
    return changed


def _parameter_groups(network: torch.nn.Module, plan: TrainingPlan) -> list[dict[str, object]]:
    """Three groups: what feeds a gate (slow, no decay), other biases and norms (no decay), the rest."""
    excitation = _excitation_parameters(network)
    feeds_gate = {id(parameter) for parameter in excitation}
    others = [parameter for parameter in network.parameters() if id(parameter) not in feeds_gate]
    vectors = [parameter for parameter in others if parameter.ndim == 1]
    kernels = [parameter for parameter in others if parameter.ndim > 1]
    rate = plan.learning_rate
    return [
        {"params": excitation, "weight_decay": 0.0, "lr": rate * plan.excitation_rate},
        {"params": vectors, "weight_decay": 0.0, "lr": rate},
        {"params": kernels, "weight_decay": plan.weight_decay, "lr": rate},
    ]


def _excitation_parameters(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters of the layers between squeeze and gate."""
    parameters: list[torch.nn.Parameter] = []
    for module in network.modules():
        if isinstance(module, SEModule | SelectiveKernelAttn):
            parameters.extend(module.parameters())
        elif isinstance(module, SplitAttn):
            for layer in (module.fc1, module.bn1, module.fc2):
                parameters.extend(layer.parameters())
    return parameters


@torch.no_grad()
def _widen_gates(network: torch.nn.Module, gain: float) -> None:
    for module in network.modules():
        if isinstance(module, SEModule | SplitAttn):
            module.fc2.weight.mul_(gain)
        elif isinstance(module, SelectiveKernelAttn):
            module.fc_select.weight.mul_(gain)


def _measure(kind: str, network: torch.nn.Module, weights: Path, seconds: float) -> Measured:
    held_out, _ = stimulus_batch(HELD_OUT)
    return Measured(
        kind=kind,
        plan=asdict(PLANS[kind]),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        seconds=round(seconds),
        validation=accuracy(network, *stimulus_batch(VALIDATION)),
        held_out=accuracy_by_condition(network, HELD_OUT),
        gates=gate_spreads(network, held_out),
        versions=library_versions(),
    )


def main() -> None:
    """Train the named networks, save their weights in the package and write the model card."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.train", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=DEMO_MODELS, help="all of them by default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of card and weights")
    arguments = parser.parse_args()
    (arguments.out / "weights").mkdir(parents=True, exist_ok=True)
    for kind in arguments.kinds or DEMO_MODELS:
        started = time.monotonic()
        network = train(kind, PLANS[kind])
        weights = arguments.out / "weights" / f"{kind}.safetensors"
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(state, weights)
        measured = _measure(kind, network, weights, time.monotonic() - started)
        print(f"{kind}: validation {measured.validation:.3f}, held-out {measured.held_out}", flush=True)
        write_model_card(arguments.out, measured)


if __name__ == "__main__":
    main()
