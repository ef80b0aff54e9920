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

learners.safetensors: a batch of 32, of an environment with 4 numbers to see and 2 actions in -2 .. 4, or a choice of 3:
  observation, next_observation [32, 4], action [32, 2], choice, reward, terminated [32], noise, next_noise [32, 2] (of
  policies); nets with tanh and 2 hidden layers of 8, actor, policy, q1, q2, values, duel: NET.P as above. Every CASE of
  sac, td3, ddpg, dqn, dqn_plain, dqn_dueling, dqn_slow: 5 updates with this batch, gamma 0.9, Adam 0.01, tau 0.1
  (0 in dqn, dqn_plain and dqn_dueling), gradients clipped to 10 in dqn:
    CASE.loss [5]         of the critics, before each update
    CASE.NET.P            parameters after the last; slow_NET: of the target nets
    sac.log_alpha [1]     likewise, 0 at first; the target entropy is -2
  squashed: mean, log_deviation, noise [24, 2], action [24, 2] = tanh(mean + exp(log_deviation, 2 at most) noise),
  log_probability [24] of it; grad.mean, grad.log_deviation of the sum of v log_probability + w . action, v [24], w [24, 2]

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
import copy
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


# ---- learners

UNIT = torch.distributions.transforms.TanhTransform(cache_size=1)


def policy_of(mean, log_deviation, noise):
    """The squashed action and its log-probability, by torch.distributions."""
    normal_of = torch.distributions.Normal(mean, log_deviation.exp())
    action = UNIT(mean + log_deviation.exp() * noise)
    return action, torch.distributions.TransformedDistribution(normal_of, [UNIT]).log_prob(action).sum(-1)


def squashed(tensors):
    mean, log_deviation = normal(24, 2, scale=3).requires_grad_(), normal(24, 2).requires_grad_()
    noise, v, w = normal(24, 2), normal(24), normal(24, 2)
    action, log_p = policy_of(mean, log_deviation.clamp(-20, 2), noise)
    ((v * log_p).sum() + (w * action).sum()).backward()
    found = {"mean": mean, "log_deviation": log_deviation, "noise": noise, "v": v, "w": w, "action": action,
             "log_probability": log_p, "grad.mean": mean.grad, "grad.log_deviation": log_deviation.grad}
    tensors.update({"squashed." + name: x for name, x in found.items()})


def store(tensors, prefix, net):
    for name, p, transposed in named_parameters(net):
        tensors[f"{prefix}.{name}"] = (p.t() if transposed else p).detach().clone()


class Case:
    """Copies of the nets, their targets, and Adam."""
    GAMMA, TAU = 0.9, 0.1

    def __init__(self, nets, *names):
        self.nets = {name: copy.deepcopy(nets[name]) for name in names}
        self.slow = {name: copy.deepcopy(nets[name]) for name in names}
        self.losses = []

    def optimiser(self, *names):
        return torch.optim.Adam([p for name in names for p in self.nets[name].parameters()], lr=0.01)

    def follow(self, *names):
        for name in names:
            for p, slow in zip(self.nets[name].parameters(), self.slow[name].parameters()):
                slow.data += self.TAU * (p.data - slow.data)

    def step(self, optimiser, loss, clip=None):
        optimiser.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], clip)
        optimiser.step()

    def save(self, tensors, case):
        tensors[case + ".loss"] = torch.stack(self.losses)
        for name in self.nets:
            store(tensors, f"{case}.{name}", self.nets[name])
            store(tensors, f"{case}.slow_{name}", self.slow[name])


def joined(x, action):
    return torch.cat([x, action], 1)


def case_sac(nets, b, tensors):
    c = Case(nets, "policy", "q1", "q2")
    log_alpha = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    of_critics, of_actor = c.optimiser("q1", "q2"), c.optimiser("policy")
    of_alpha = torch.optim.Adam([log_alpha], lr=0.01)

    def draw(x, noise):
        mean, log_deviation = c.nets["policy"](x).chunk(2, -1)
        return policy_of(mean, log_deviation.clamp(-20, 2), noise)

    for _ in range(5):
        with torch.no_grad():
            action, log_p = draw(b["next_observation"], b["next_noise"])
            x = joined(b["next_observation"], action)
            value = torch.min(c.slow["q1"](x), c.slow["q2"](x))[:, 0] - log_alpha.exp() * log_p
            y = b["reward"] + c.GAMMA * (1 - b["terminated"]) * value
        x = joined(b["observation"], b["unit_action"])
        loss = sum(((c.nets[q](x)[:, 0] - y) ** 2).mean() for q in ("q1", "q2"))
        c.losses.append(loss.detach())
        c.step(of_critics, loss)
        c.follow("q1", "q2")
        action, log_p = draw(b["observation"], b["noise"])
        x = joined(b["observation"], action)
        worth = torch.min(c.nets["q1"](x), c.nets["q2"](x))[:, 0]
        c.step(of_actor, (log_alpha.exp().detach() * log_p - worth).mean())
        c.step(of_alpha, -(log_alpha * (log_p.detach() - 2)).mean())
    c.save(tensors, "sac")
    tensors["sac.log_alpha"] = log_alpha


def case_td3(nets, b, tensors, twin):
    critics = ("q1", "q2") if twin else ("q1",)
    c = Case(nets, "actor", *critics)
    of_critics, of_actor = c.optimiser(*critics), c.optimiser("actor")
    for k in range(1, 6):
        with torch.no_grad():
            action = torch.tanh(c.slow["actor"](b["next_observation"]))
            if twin:
                action = (action + (0.2 * b["next_noise"]).clamp(-0.5, 0.5)).clamp(-1, 1)
            x = joined(b["next_observation"], action)
            value = torch.stack([c.slow[q](x)[:, 0] for q in critics]).min(0).values
            y = b["reward"] + c.GAMMA * (1 - b["terminated"]) * value
        x = joined(b["observation"], b["unit_action"])
        loss = sum(((c.nets[q](x)[:, 0] - y) ** 2).mean() for q in critics)
        c.losses.append(loss.detach())
        c.step(of_critics, loss)
        if not twin or k % 2 == 0:
            action = torch.tanh(c.nets["actor"](b["observation"]))
            c.step(of_actor, -c.nets["q1"](joined(b["observation"], action)).mean())
            c.follow("actor", *critics)
    c.save(tensors, "td3" if twin else "ddpg")


def case_dqn(nets, b, tensors, case, name, double, tau):
    c = Case(nets, name)
    c.TAU = tau
    optimiser, choice = c.optimiser(name), b["choice"].long().unsqueeze(1)

    def values(net, x):
        y = net(x)
        if name == "duel":
            advantage = y[:, :3]
            y = y[:, 3:] + advantage - advantage.mean(1, keepdim=True)
        return y

    for _ in range(5):
        with torch.no_grad():
            after = values(c.slow[name], b["next_observation"])
            chosen = (values(c.nets[name], b["next_observation"]) if double else after).argmax(1, keepdim=True)
            y = b["reward"] + c.GAMMA * (1 - b["terminated"]) * after.gather(1, chosen)[:, 0]
        loss = functional.smooth_l1_loss(values(c.nets[name], b["observation"]).gather(1, choice)[:, 0], y)
        c.losses.append(loss.detach())
        c.step(optimiser, loss, clip=10)
        c.follow(name)
    c.save(tensors, case)


def learners():
    nets = {"actor": [4, 8, 8, 2], "policy": [4, 8, 8, 4], "q1": [6, 8, 8, 1], "q2": [6, 8, 8, 1],
            "values": [4, 8, 8, 3], "duel": [4, 8, 8, 4]}
    nets = {name: mlp(sizes, nn.Tanh) for name, sizes in nets.items()}
    tensors = {}
    for name, net in nets.items():
        randomise(net)
        store(tensors, name, net)
    unit = (2 * torch.rand(32, 2) - 1).double()
    b = {"observation": normal(32, 4), "next_observation": normal(32, 4), "unit_action": unit,
         "action": (1 + 3 * unit).float().double(), "choice": torch.randint(0, 3, (32,)).double(),
         "reward": normal(32, scale=3), "terminated": (torch.rand(32) < 0.25).double(),
         "noise": normal(32, 2), "next_noise": normal(32, 2)}
    tensors.update({name: x for name, x in b.items() if name != "unit_action"})
    case_sac(nets, b, tensors)
    case_td3(nets, b, tensors, True)
    case_td3(nets, b, tensors, False)
    case_dqn(nets, b, tensors, "dqn", "values", True, 0)
    case_dqn(nets, b, tensors, "dqn_plain", "values", False, 0)
    case_dqn(nets, b, tensors, "dqn_dueling", "duel", True, 0)
    case_dqn(nets, b, tensors, "dqn_slow", "values", True, 0.1)
    squashed(tensors)
    save("learners", tensors, {"gamma": Case.GAMMA, "tau": Case.TAU, "adam": {"learning_rate": 0.01}})
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


def draws_of(net, log_std, x):
    y = net(x)
    return Categorical(logits=y) if log_std is None else Independent(Normal(y, log_std.exp().expand_as(y)), 1)


def fisher_product(net, log_std, x, parameters, v, damping):
    with torch.no_grad():
        old = draws_of(net, log_std, x)
    kl = kl_divergence(old, draws_of(net, log_std, x)).mean()
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
    old_log_prob = (draws_of(net, log_std, x).log_prob(action).detach() + normal(32, scale=0.3)).float().double()
    v = normal(sum(p.numel() for p in parameters))
    tensors = {"x": x, "advantage": advantage, "action": action, "old_log_prob": old_log_prob, "v": v,
               "product": fisher_product(net, log_std, x, parameters, v, 0.1)}
    policy = draws_of(net, log_std, x)
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
learners()
policies()
