#!/usr/bin/python3
"""make_reference.py - records what PyTorch computes, for tests to compare with.

Run by hand when a case is added: tests/reference/make_reference.py (Debian's python3-torch, 1.13). It
writes the .safetensors files next to it, which are kept in git. Everything is computed in double
precision from float32 inputs and stored as float32. Weights are [inputs, outputs], the transpose of
PyTorch's. Every file's __metadata__ holds the settings of its cases.

layers.safetensors: x [8, 5]; for each CASE of linear (5 -> 4), layer_norm (5), mlp_relu, mlp_tanh, mlp_silu,
  mlp_gelu, mlp_softplus (5 -> 7 -> 6 -> 3, the activation between), mlp_layer_norm (the same with tanh, and a
  layer norm before each activation):
    CASE.x, CASE.y        input [8, 5] and output [8, n]
    CASE.v, CASE.loss     loss = sum(y * v), v [8, n], loss [1]
    CASE.P, CASE.grad.P   parameter and gradient of the loss: P = linear1.weight, linear1.bias,
                          layer_norm1.scale, layer_norm1.offset, linear2.weight ...
    CASE.grad.x           [8, 5]

losses.safetensors, each averaged over everything, value [1], grad.NAME of each input NAME that has one:
    mse, huber (delta 1), huber_half (delta 0.5):  prediction, target [16, 3]
    gaussian_nll: mean, raw, target [16, 3], low, high [3]; the log-variance is raw bounded as in PETS,
        lv = high - softplus(high - raw); lv = low + softplus(lv - low), kept as log_variance [16, 3];
        value = mean(((target - mean)^2 exp(-lv) + lv) / 2)
    cross_entropy: logits [16, 5], index [16] (int32, from 0)

optimisers.safetensors: first [4, 3] and second [5], the parameters at the start; gradient.first [10, 4, 3] and
  gradient.second [10, 5], those of the 10 steps, whatever the parameters are; for each CASE of sgd,
  sgd_momentum, sgd_nesterov, sgd_decay, adam, adam_decay, adamw, adam_clip (clipped by global norm):
    CASE.first [10, 4, 3], CASE.second [10, 5]    the parameters after each step

regression.safetensors: x [64, 2], y [64, 1]; a 2 -> 32 -> 32 -> 1 net with tanh, trained 100 steps by Adam, learning
  rate 0.01, on the mean squared error of all 64 samples:
    linear1.weight [2, 32], linear1.bias [32], linear2.weight, linear2.bias, linear3.weight, linear3.bias
    losses [100]          before each step
    final.P               parameters after the last step

policies.safetensors: of policies and what is learnt by them. Actions of a choice count from 0.
    categorical: d, other [16, 5], the logits; action [16] (int32)
    gaussian:    d, other [16, 6], 3 means and 3 logs of deviations; action [16, 3]
      and of each log_prob, entropy, kl = KL(d || other), [16]
    gae: reward, value, next_value, terminated, truncated [12, 3] of 12 steps of 3 copies; advantage and return [12, 3]
        by gamma 0.95 and lambda 0.9
    CASE of choice and real: a policy 4 -> 8 -> 6 -> n with tanh; n is 3, logits, or 2, means, with log_std [2];
      CASE.P                 its parameters
      CASE.x, action, advantage, old_log_prob     a batch of 32; the action [32] (int32) or [32, 2]
      CASE.v, CASE.product   a vector of as many numbers as it has parameters, each tensor's flattened and log_std last;
                             (F + 0.1) v, F the second derivatives of the mean of KL(as it is || by other parameters)
      CASE.loss, CASE.grad.P the mean of -min(r A, clip(r, 0.8, 1.2) A) - 0.01 entropy, and its gradient
"""
import json
import pathlib
import struct

import torch
from torch import nn
from torch.distributions import Categorical, Independent, Normal, kl_divergence
from torch.nn import functional

FOLDER = pathlib.Path(__file__).resolve().parent


def save(name, tensors, settings):
    """safetensors: length of the header (u64), header (JSON), then the numbers."""
    header, parts, at = {"__metadata__": {k: json.dumps(v) for k, v in settings.items()}}, [], 0
    for key in sorted(tensors):
        x = tensors[key].detach().contiguous()
        whole = x.dtype in (torch.int32, torch.int64)
        data = (x.to(torch.int32) if whole else x.to(torch.float32)).numpy().tobytes()
        header[key] = {"dtype": "I32" if whole else "F32", "shape": list(x.shape),
                       "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = FOLDER / (name + ".safetensors")
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    print(path.name, path.stat().st_size, "bytes")


def normal(*shape, scale=1.0):
    """Numbers that float32 holds exactly, as doubles."""
    return (torch.randn(*shape, dtype=torch.float32) * scale).double()


# ---- layers

def named_parameters(net):
    """(our name, parameter, whether transposed) in the order of the layers."""
    counts = {}
    for layer in net:
        kind = {nn.Linear: "linear", nn.LayerNorm: "layer_norm"}.get(type(layer))
        if not kind:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        names = ("weight", "bias") if kind == "linear" else ("scale", "offset")
        for name, p in zip(names, (layer.weight, layer.bias)):
            yield f"{kind}{counts[kind]}.{name}", p, p.dim() == 2


def randomise(net):
    for _, p, _ in named_parameters(net):
        p.data = normal(*p.shape, scale=0.5)


def mlp(sizes, activation, norm=False):
    layers = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if i < len(sizes) - 2:
            if norm:
                layers.append(nn.LayerNorm(sizes[i + 1]))
            layers.append(activation())
    return nn.Sequential(*layers).double()


def layers():
    sizes, tensors = [5, 7, 6, 3], {}
    cases = {
        "linear": nn.Sequential(nn.Linear(5, 4)).double(),
        "layer_norm": nn.Sequential(nn.LayerNorm(5)).double(),
        "mlp_relu": mlp(sizes, nn.ReLU), "mlp_tanh": mlp(sizes, nn.Tanh), "mlp_silu": mlp(sizes, nn.SiLU),
        "mlp_gelu": mlp(sizes, nn.GELU), "mlp_softplus": mlp(sizes, nn.Softplus),
        "mlp_layer_norm": mlp(sizes, nn.Tanh, norm=True),
    }
    for case, net in cases.items():
        randomise(net)
        x = normal(8, 5).requires_grad_()
        y = net(x)
        v = normal(*y.shape)
        loss = (y * v).sum()
        loss.backward()
        tensors.update({f"{case}.x": x, f"{case}.y": y, f"{case}.v": v, f"{case}.loss": loss.reshape(1),
                        f"{case}.grad.x": x.grad})
        for name, p, transposed in named_parameters(net):
            tensors[f"{case}.{name}"] = p.t() if transposed else p
            tensors[f"{case}.grad.{name}"] = p.grad.t() if transposed else p.grad
    save("layers", tensors, {"mlp": {"sizes": sizes}, "layer_norm": {"epsilon": 1e-5}})


# ---- losses

def losses():
    tensors = {}

    def record(case, value, inputs, **others):
        value.backward()
        tensors[f"{case}.value"] = value.reshape(1)
        for name, x in inputs.items():
            tensors[f"{case}.{name}"] = x
            if x.requires_grad:
                tensors[f"{case}.grad.{name}"] = x.grad
        for name, x in others.items():
            tensors[f"{case}.{name}"] = x

    def fresh(*shape, scale=1.0):
        return normal(*shape, scale=scale).requires_grad_()

    for case, loss in {"mse": functional.mse_loss, "huber": functional.huber_loss,
                       "huber_half": lambda p, t: functional.huber_loss(p, t, delta=0.5)}.items():
        prediction, target = fresh(16, 3), normal(16, 3)
        record(case, loss(prediction, target), {"prediction": prediction, "target": target})

    mean, raw, target = fresh(16, 3), fresh(16, 3, scale=4.0), normal(16, 3)
    high = torch.tensor([0.5, 0.25, 1.0], dtype=torch.float64).requires_grad_()
    low = torch.tensor([-10.0, -5.0, -2.0], dtype=torch.float64).requires_grad_()
    log_variance = high - functional.softplus(high - raw)
    log_variance = low + functional.softplus(log_variance - low)
    value = (((target - mean) ** 2 * torch.exp(-log_variance) + log_variance) / 2).mean()
    record("gaussian_nll", value, {"mean": mean, "raw": raw, "target": target, "low": low, "high": high},
           log_variance=log_variance)

    logits, index = fresh(16, 5, scale=2.0), torch.randint(0, 5, (16,))
    record("cross_entropy", functional.cross_entropy(logits, index), {"logits": logits}, index=index)
    save("losses", tensors, {"huber": {"delta": 1}, "huber_half": {"delta": 0.5}})


# ---- optimisers

OPTIMISERS = {  # settings under our names
    "sgd": {"kind": "sgd", "learning_rate": 0.1},
    "sgd_momentum": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    "sgd_nesterov": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
    "sgd_decay": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.05},
    "adam": {"kind": "adam", "learning_rate": 0.05},
    "adam_decay": {"kind": "adam", "learning_rate": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-4,
                   "weight_decay": 0.1},
    "adamw": {"kind": "adamw", "learning_rate": 0.05, "weight_decay": 0.1},
    "adam_clip": {"kind": "adam", "learning_rate": 0.05, "clip": 1.5},
}


def make_optimiser(parameters, s):
    common = {"lr": s["learning_rate"], "weight_decay": s.get("weight_decay", 0.0)}
    if s["kind"] == "sgd":
        return torch.optim.SGD(parameters, momentum=s.get("momentum", 0.0), nesterov=s.get("nesterov", False),
                               **common)
    kind = torch.optim.AdamW if s["kind"] == "adamw" else torch.optim.Adam
    return kind(parameters, betas=(s.get("beta1", 0.9), s.get("beta2", 0.999)), eps=s.get("epsilon", 1e-8),
                **common)


def optimisers():
    steps, first, second = 10, normal(4, 3), normal(5)
    gradients = normal(steps, 4, 3), normal(steps, 5)
    # Of every size, some zero.
    gradients[0][3] *= 0
    gradients[1][:, 0] *= 1e-3
    gradients[0][7] *= 100
    tensors = {"first": first, "second": second, "gradient.first": gradients[0], "gradient.second": gradients[1]}
    for case, settings in OPTIMISERS.items():
        parameters = [nn.Parameter(first.clone()), nn.Parameter(second.clone())]
        optimiser = make_optimiser(parameters, settings)
        trail = [[], []]
        for step in range(steps):
            for p, g in zip(parameters, gradients):
                p.grad = g[step].clone()
            if "clip" in settings:
                nn.utils.clip_grad_norm_(parameters, settings["clip"])
            optimiser.step()
            for path, p in zip(trail, parameters):
                path.append(p.detach().clone())
        tensors[f"{case}.first"], tensors[f"{case}.second"] = torch.stack(trail[0]), torch.stack(trail[1])
    save("optimisers", tensors, OPTIMISERS)


# ---- regression

def train(net, x, y, rate, steps):
    optimiser, values = torch.optim.Adam(net.parameters(), lr=rate), []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = functional.mse_loss(net(x), y)
        loss.backward()
        optimiser.step()
        values.append(loss.detach())
    return torch.stack(values)


def regression():
    x = normal(64, 2)
    y = (torch.sin(2 * x[:, :1]) * x[:, 1:] + 0.5 * x[:, 1:]).float().double()
    net = mlp([2, 32, 32, 1], nn.Tanh)
    for p in net.parameters():
        p.data = p.data.float().double()
    single = mlp([2, 32, 32, 1], nn.Tanh)
    single.load_state_dict(net.state_dict())
    single = single.float()
    tensors = {"x": x, "y": y}
    for name, p, transposed in named_parameters(net):
        tensors[name] = (p.t() if transposed else p).detach().clone()
    tensors["losses"] = train(net, x, y, 0.01, 100)
    for name, p, transposed in named_parameters(net):
        tensors["final." + name] = p.t() if transposed else p
    save("regression", tensors, {"adam": {"learning_rate": 0.01}, "steps": 100})
    apart = (train(single, x.float(), y.float(), 0.01, 100).double() / tensors["losses"] - 1).abs().max()
    print(f"PyTorch's own float32 run is at most {apart:.1e} (relative) away from the stored losses")


# ---- policies

def distributions():
    tensors = {}
    for case, size in ("categorical", 5), ("gaussian", 6):
        d, other = normal(16, size), normal(16, size)
        if case == "categorical":
            p, q, action = Categorical(logits=d), Categorical(logits=other), torch.randint(0, 5, (16,))
        else:
            p, q = (Independent(Normal(x[:, :3], x[:, 3:].exp()), 1) for x in (d, other))
            action = normal(16, 3, scale=1.5)
        tensors.update({f"{case}.d": d, f"{case}.other": other, f"{case}.action": action,
                        f"{case}.log_prob": p.log_prob(action), f"{case}.entropy": p.entropy(),
                        f"{case}.kl": kl_divergence(p, q)})
    return tensors


def advantages(gamma=0.95, decay=0.9):
    """Every advantage by its sum, from each step on."""
    reward, value, next_value = normal(12, 3), normal(12, 3), normal(12, 3)
    terminated, truncated = torch.zeros(12, 3).double(), torch.zeros(12, 3).double()
    terminated[3, 0] = truncated[6, 0] = truncated[4, 1] = terminated[11, 1] = terminated[8, 2] = 1
    truncated[8, 2] = 1  # both at once
    advantage = torch.zeros(12, 3).double()
    for copy in range(3):
        for first in range(12):
            for t in range(first, 12):
                goes_on = gamma * next_value[t, copy] * (1 - terminated[t, copy])
                delta = reward[t, copy] + goes_on - value[t, copy]
                advantage[first, copy] += (gamma * decay) ** (t - first) * delta
                if terminated[t, copy] or truncated[t, copy]:
                    break
    return {"gae.reward": reward, "gae.value": value, "gae.next_value": next_value, "gae.terminated": terminated,
            "gae.truncated": truncated, "gae.advantage": advantage, "gae.return": advantage + value}


def policy_of(net, log_std, x):
    y = net(x)
    return Categorical(logits=y) if log_std is None else Independent(Normal(y, log_std.exp().expand_as(y)), 1)


def fisher_product(net, log_std, x, parameters, v, damping):
    with torch.no_grad():
        old = policy_of(net, log_std, x)
    kl = kl_divergence(old, policy_of(net, log_std, x)).mean()
    slope = torch.cat([g.reshape(-1) for g in torch.autograd.grad(kl, parameters, create_graph=True)]) @ v
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(slope, parameters)]) + damping * v


def policy_case(case):
    # Weights in our layout, so that vectors of all parameters agree.
    class Layer(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.weight, self.bias = (nn.Parameter(normal(*s, scale=0.5)) for s in ((inputs, outputs), (outputs,)))

        def forward(self, x):
            return x @ self.weight + self.bias

    real = case == "real"
    net = nn.Sequential(Layer(4, 8), nn.Tanh(), Layer(8, 6), nn.Tanh(), Layer(6, 2 if real else 3))
    log_std = nn.Parameter(normal(2, scale=0.3)) if real else None
    parameters = list(net.parameters()) + ([log_std] if real else [])
    names = [f"linear{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")] + ["log_std"]
    x, advantage = normal(32, 4), normal(32)
    action = normal(32, 2) if real else torch.randint(0, 3, (32,))
    old_log_prob = (policy_of(net, log_std, x).log_prob(action).detach() + normal(32, scale=0.3)).float().double()
    v = normal(sum(p.numel() for p in parameters))
    tensors = {"x": x, "advantage": advantage, "action": action, "old_log_prob": old_log_prob, "v": v,
               "product": fisher_product(net, log_std, x, parameters, v, 0.1)}
    policy = policy_of(net, log_std, x)
    ratio = (policy.log_prob(action) - old_log_prob).exp()
    gain = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    loss = (-gain - 0.01 * policy.entropy()).mean()
    loss.backward()
    tensors["loss"] = loss.reshape(1)
    for name, p in zip(names, parameters):
        tensors[name], tensors["grad." + name] = p, p.grad
    return {f"{case}.{name}": t for name, t in tensors.items()}


def policies():
    tensors = {**distributions(), **advantages(), **policy_case("choice"), **policy_case("real")}
    save("policies", tensors, {"gae": {"gamma": 0.95, "lambda": 0.9}, "fisher": {"damping": 0.1},
                               "ppo": {"clip": 0.2, "entropy": 0.01}})


torch.manual_seed(20240229)
layers()
losses()
optimisers()
regression()
policies()
