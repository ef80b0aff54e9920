#!/usr/bin/env python3
"""torch_peer.py - what a PyTorch user would run instead: the cases of cases.lua, served to run.lua.

  torch_peer.py --case pets --variant jit --threads 2 --folder build/bench/pets
  torch_peer.py --about       versions of PyTorch and OpenBLAS

After "ready" every line on standard input is one repetition, answered by its milliseconds of
wall-clock and of processor time; "check NAME" instead writes the numbers to compare as NAME.npy into
the folder; "quit" ends it. Weights and data are read from there, where cases.lua left them.

Variants of planning:
  mbrl   op for op what mbrl-lib does: concat, normaliser in double precision, shuffle to members and
         back, matmul + bias, two softplus clamps, torch.normal
  best   the same mathematics written for speed: rows grouped by member, baddbmm, activations in
         place, the normaliser folded into the first layer, a closed form of the deviation
  loop   best with one addmm per member
  chunk  best with rows cut into chunks that fit the cache, each through the whole horizon
  jit    best's step traced, frozen and optimised for inference
and of training: mbrl, best, foreach (Adam with foreach=True), jit (the forward pass traced)."""
import argparse, copy, ctypes, math, os, re, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--case", default="pets")
parser.add_argument("--variant", default="best")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--folder", default=".")
parser.add_argument("--about", action="store_true")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

torch.set_num_threads(args.threads)
torch.set_flush_denormal(True)
torch.manual_seed(0)


def openblas():
    """Torch reaches OpenBLAS, but torch.set_num_threads does not reach OpenBLAS's own pool."""
    for line in open("/proc/self/maps"):
        found = re.search(r"(/\S*openblas\S*\.so\S*)", line)
        if found:
            return ctypes.CDLL(found.group(1))


if args.about:
    blas = openblas()
    config = core = "none"
    if blas:
        blas.openblas_get_config.restype = blas.openblas_get_corename.restype = ctypes.c_char_p
        config, core = blas.openblas_get_config().decode(), blas.openblas_get_corename().decode()
    version = re.search(r"OpenBLAS (\S+)", config)
    print("%s %s %s" % (torch.__version__, version.group(1) if version else config, core))
    sys.exit()
if openblas():
    openblas().openblas_set_num_threads(args.threads)

# ---- sizes, as in cases.lua

STATES, ACTIONS, HORIZON, ITERATIONS = 17, 6, 15, 5
INPUTS = STATES + ACTIONS
MEMBERS = {"det": 1, "grad1": 1}.get(args.case, 5)
PLANS, PARTICLES = {"pets": (500, 20), "det": (1000, 1)}.get(args.case, (32, 1))
DETERMINISTIC = args.case == "det"
LOW, HIGH = -10.0, 0.5  # bounds of the log-variance


def fixture(name):
    return torch.from_numpy(np.load(os.path.join(args.folder, name + ".npy"))).contiguous()


def layers_of(name=""):
    """[(weight, bias), ...], of an ensemble as members x ..."""
    layers, i = [], 1
    while os.path.exists(os.path.join(args.folder, "%slinear%d.weight.npy" % (name, i))):
        layers.append((fixture("%slinear%d.weight" % (name, i)), fixture("%slinear%d.bias" % (name, i))))
        i += 1
    return layers


def folded(layers):
    """The input normaliser becomes part of the first layer."""
    (w, b), mean, scale = layers[0], fixture("input_mean"), fixture("input_scale")
    w = w * scale.unsqueeze(-1)
    return [(w, b - mean @ w)] + layers[1:]


def reward(action, state):
    return -(state[..., 0] ** 2 + 0.1 * state[..., 1] ** 2 + 0.001 * (action ** 2).sum(-1))


def bounded(log_variance):
    log_variance = HIGH - F.softplus(HIGH - log_variance)
    return LOW + F.softplus(log_variance - LOW)


def deviation(raw):
    """sqrt(exp(bounded(raw))) with one sigmoid; changes raw."""
    return torch.sigmoid_(raw.sub_(HIGH)).mul_(math.exp(LOW) * math.exp(HIGH - LOW)).add_(math.exp(LOW)).sqrt_()


# ---- planning: plans are n x horizon x actions; a rollout answers n returns


class Mbrl:
    def __init__(self):
        self.layers = [(w, b.unsqueeze(-2)) for w, b in layers_of()]
        if DETERMINISTIC:
            self.layers = [(w.unsqueeze(0), b.unsqueeze(0)) for w, b in self.layers]
        self.mean = fixture("input_mean").double()
        self.deviation = 1 / fixture("input_scale").double()
        self.state, self.activation = fixture("observation"), nn.ReLU() if DETERMINISTIC else nn.SiLU()

    def net(self, x):
        for w, b in self.layers[:-1]:
            x = self.activation(x.matmul(w) + b)
        w, b = self.layers[-1]
        return x.matmul(w) + b

    def change(self, x, order, noise):
        rows = x.shape[0]
        if DETERMINISTIC:
            return self.net(x.unsqueeze(0))[0]
        y = self.net(x.unsqueeze(0)[:, order, ...].view(MEMBERS, rows // MEMBERS, -1))
        mean, log_variance = y[..., :STATES].reshape(rows, -1), bounded(y[..., STATES:]).reshape(rows, -1)
        mean[order], log_variance[order] = mean.clone(), log_variance.clone()
        return torch.normal(mean, torch.sqrt(log_variance.exp())) if noise else mean

    def returns(self, plans, noise=True):
        rows = plans.shape[0] * PARTICLES
        state = torch.from_numpy(np.tile(self.state.numpy(), (rows, 1)))
        order = torch.randperm(rows)
        if not noise:
            order = torch.arange(rows).reshape(-1, PARTICLES).t().reshape(-1).contiguous()
        total, ended = torch.zeros(rows, 1), torch.zeros(rows, 1, dtype=torch.bool)
        for t in range(HORIZON):
            action = torch.repeat_interleave(plans[:, t, :], PARTICLES, dim=0)
            x = ((torch.cat([state, action], dim=-1) - self.mean) / self.deviation).float()
            state = self.change(x, order, noise) + state
            gained = reward(action, state).unsqueeze(-1)
            gained[ended] = 0
            ended |= torch.zeros(rows, 1, dtype=torch.bool)
            total += gained
        return total.reshape(-1, PARTICLES).mean(dim=1)


class Best:
    def __init__(self):
        layers = folded(layers_of())
        if DETERMINISTIC:
            layers = [(w.unsqueeze(0), b.unsqueeze(0)) for w, b in layers]
        self.layers = [(w.contiguous(), b.unsqueeze(1).contiguous()) for w, b in layers]
        self.state, self.buffers = fixture("observation"), {}
        self.activate = F.relu_ if DETERMINISTIC else lambda x: F.silu(x, inplace=True)

    def buffer(self, name, *shape):
        if (name, shape) not in self.buffers:
            self.buffers[name, shape] = torch.empty(*shape)
        return self.buffers[name, shape]

    def linear(self, i, x):
        w, b = self.layers[i]
        y = self.buffer(i == len(self.layers) - 1 and "out" or i % 2, MEMBERS, x.shape[1], w.shape[2])
        return torch.baddbmm(b, x, w, out=y)

    def net(self, x):
        for i in range(len(self.layers) - 1):
            x = self.activate(self.linear(i, x))
        return self.linear(len(self.layers) - 1, x)

    def grouped(self, plans):
        """horizon x members x rows x actions."""
        n, k = plans.shape[0], PARTICLES // MEMBERS
        by_step = plans.permute(1, 0, 2).reshape(HORIZON, 1, n, 1, ACTIONS)
        return by_step.expand(HORIZON, MEMBERS, n, k, ACTIONS).reshape(HORIZON, MEMBERS, n * k, ACTIONS)

    def roll(self, actions, noise):
        rows = actions.shape[2]
        x = self.buffer("x", MEMBERS, rows, INPUTS)
        state, draws = x[..., :STATES], self.buffer("noise", MEMBERS, rows, STATES)
        state.copy_(self.state)
        total = torch.zeros(MEMBERS, rows)
        for t in range(HORIZON):
            x[..., STATES:].copy_(actions[t])
            y = self.net(x)
            state.add_(y[..., :STATES])
            if noise and not DETERMINISTIC:
                state.addcmul_(deviation(y[..., STATES:]), draws.normal_())
            total += reward(actions[t], state)
        return total

    def returns(self, plans, noise=True):
        total = self.roll(self.grouped(plans), noise)
        return total.reshape(MEMBERS, plans.shape[0], -1).mean(dim=(0, 2))


class Loop(Best):
    def linear(self, i, x):
        w, b = self.layers[i]
        y = self.buffer(i == len(self.layers) - 1 and "out" or i % 2, MEMBERS, x.shape[1], w.shape[2])
        for m in range(MEMBERS):
            torch.addmm(b[m], x[m], w[m], out=y[m])
        return y


class Chunk(Best):
    def roll(self, actions, noise):
        parts = range(0, actions.shape[2], 250)
        return torch.cat([Best.roll(self, actions[:, :, i:i + 250].contiguous(), noise) for i in parts], dim=1)


class Step(nn.Module):
    def __init__(self, layers):
        super().__init__()
        # a single net as 2-D linears, so that freezing can choose its own kernels
        self.linears = nn.ModuleList()
        self.weights = nn.ParameterList([nn.Parameter(w) for w, _ in layers])
        self.biases = nn.ParameterList([nn.Parameter(b) for _, b in layers])
        for w, b in layers if DETERMINISTIC else []:
            self.linears.append(nn.Linear(w.shape[1], w.shape[2]))
            self.linears[-1].weight.data.copy_(w[0].t())
            self.linears[-1].bias.data.copy_(b[0, 0])

    def forward(self, state, action, noise):
        x = torch.cat([state, action], dim=-1)
        if DETERMINISTIC:
            x = x[0]
            for linear in self.linears[:-1]:
                x = F.relu(linear(x))
            state = state + self.linears[-1](x).unsqueeze(0)
        else:
            last = len(self.weights) - 1
            for i in range(last):
                x = F.silu(torch.baddbmm(self.biases[i], x, self.weights[i]))
            y = torch.baddbmm(self.biases[last], x, self.weights[last])
            variance = math.exp(LOW) + math.exp(HIGH) * torch.sigmoid(y[..., STATES:] - HIGH)
            state = state + y[..., :STATES] + torch.sqrt(variance) * noise
        return state, reward(action, state)


class Jit(Best):
    def __init__(self):
        super().__init__()
        rows = PLANS * PARTICLES // MEMBERS
        example = [torch.zeros(MEMBERS, rows, n) for n in (STATES, ACTIONS, STATES)]
        traced = torch.jit.trace(Step(self.layers).eval(), example)
        self.step = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        for _ in range(3):
            self.step(*example)

    def roll(self, actions, noise):
        rows = actions.shape[2]
        state, draws = self.state.expand(MEMBERS, rows, STATES).contiguous(), self.buffer("noise", MEMBERS, rows, STATES)
        total = torch.zeros(MEMBERS, rows)
        draws.zero_()
        for t in range(HORIZON):
            if noise and not DETERMINISTIC:
                draws.normal_()
            state, gained = self.step(state, actions[t], draws)
            total += gained
        return total


def planning():
    model = {"mbrl": Mbrl, "best": Best, "loop": Loop, "chunk": Chunk, "jit": Jit}[args.variant]()

    def repeat():
        mean, spread = torch.zeros(HORIZON, ACTIONS), torch.full((HORIZON, ACTIONS), 0.5)
        for _ in range(ITERATIONS):
            plans = (mean + spread * torch.randn(PLANS, HORIZON, ACTIONS)).clamp_(-1, 1)
            values = model.returns(plans)
            values[values.isnan()] = -1e10
            elites = plans[values.topk(PLANS // 10)[1]]
            mean = 0.1 * mean + 0.9 * elites.mean(0)
            spread = 0.1 * spread + 0.9 * elites.std(0)

    return torch.no_grad()(repeat), torch.no_grad()(lambda: model.returns(fixture("plans"), noise=False)), \
        5 if args.case == "det" else 1


# ---- gradient planning: Adam on the actions, every plan through every member


def gradient():
    layers, start = folded(layers_of()), fixture("raw").transpose(0, 1).contiguous()
    if MEMBERS == 1:
        w, b = layers[-1]
        layers[-1] = w[:, :STATES].contiguous(), b[:STATES].contiguous()
    observation = fixture("observation")

    def net(x):
        for i, (w, b) in enumerate(layers):
            x = torch.addmm(b, x, w) if MEMBERS == 1 else torch.baddbmm(b.unsqueeze(1), x, w)
            x = F.silu(x) if i < len(layers) - 1 else x
        return x[..., :STATES]

    def objective(raw):
        members = () if MEMBERS == 1 else (MEMBERS,)
        actions, state, total = torch.tanh(raw), observation.expand(*members, PLANS, STATES), 0.0
        for t in range(HORIZON):
            action = actions[t].expand(*members, PLANS, ACTIONS)
            state = state + net(torch.cat([state, action], -1))
            total = total + reward(action, state)
        return total if MEMBERS == 1 else total.mean(0)

    def repeat(steps=20):
        raw = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([raw], lr=0.05)
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            (-objective(raw).sum()).backward()
            optimiser.step()
        return raw.grad.transpose(0, 1)

    return repeat, lambda: repeat(1), 5 if MEMBERS == 1 else 1


# ---- training

BATCH = 256


def adam(parameters, rate):
    return torch.optim.Adam(parameters, lr=rate, **({"foreach": True} if args.variant == "foreach" else {}))


def losses(repeat):
    return lambda: torch.stack([repeat().detach() for _ in range(20)])


def train():
    x, y = fixture("x").reshape(MEMBERS, BATCH, INPUTS), fixture("y").reshape(MEMBERS, BATCH, STATES)
    weights = nn.ParameterList([nn.Parameter(w) for w, _ in layers_of()])
    biases = nn.ParameterList([nn.Parameter(b.unsqueeze(1)) for _, b in layers_of()])

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights, self.biases = weights, biases

        def linear(self, i, x):
            if args.variant == "mbrl":
                return x.matmul(self.weights[i]) + self.biases[i]
            return torch.baddbmm(self.biases[i], x, self.weights[i])

        def forward(self, x):
            for i in range(len(weights) - 1):
                x = F.silu(self.linear(i, x))
            y = self.linear(len(weights) - 1, x)
            return y[..., :STATES], bounded(y[..., STATES:])

    net = torch.jit.trace(Net(), x) if args.variant == "jit" else Net()
    optimiser = adam(list(weights) + list(biases), 1e-3)

    def repeat():
        optimiser.zero_grad(set_to_none=True)
        mean, log_variance = net(x)
        loss = (((mean - y) ** 2) * torch.exp(-log_variance) + log_variance).mean((1, 2)).sum()
        loss.backward()
        optimiser.step()
        return loss

    return repeat, losses(repeat), 10


def mlp(name):
    parts = []
    for w, b in layers_of(name):
        parts += [nn.Linear(*w.shape), nn.ReLU()]
        parts[-2].weight.data.copy_(w.t())
        parts[-2].bias.data.copy_(b)
    return nn.Sequential(*parts[:-1])


def small():
    net, x, y = mlp(""), fixture("x"), fixture("y")
    optimiser = adam(net.parameters(), 1e-3)
    forward = torch.jit.trace(net, x) if args.variant == "jit" else net

    def repeat():
        loss = F.mse_loss(forward(x), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss

    return repeat, losses(repeat), 100


def td3():
    nets = [mlp(name) for name in ("actor.", "q1.", "q2.")]
    (actor, q1, q2), (actor_t, q1_t, q2_t) = nets, copy.deepcopy(nets)
    of_actor, of_critics = adam(actor.parameters(), 3e-4), adam([*q1.parameters(), *q2.parameters()], 3e-4)
    state, action, gained, after, noise = map(fixture, ("s", "a", "r", "next", "noise"))
    updates = [0]

    def repeat(draw=lambda: torch.randn_like(action)):
        updates[0] += 1
        with torch.no_grad():
            smoothed = (torch.tanh(actor_t(after)) + (0.2 * draw()).clamp(-0.5, 0.5)).clamp(-1, 1)
            x = torch.cat([after, smoothed], 1)
            target = gained + 0.99 * torch.min(q1_t(x), q2_t(x))
        x = torch.cat([state, action], 1)
        loss = F.mse_loss(q1(x), target) + F.mse_loss(q2(x), target)
        of_critics.zero_grad(set_to_none=True)
        loss.backward()
        of_critics.step()
        if updates[0] % 2 == 0:
            of_actor.zero_grad(set_to_none=True)
            (-q1(torch.cat([state, torch.tanh(actor(state))], 1)).mean()).backward()
            of_actor.step()
            with torch.no_grad():
                for net, slow in zip(nets, (actor_t, q1_t, q2_t)):
                    for p, pt in zip(net.parameters(), slow.parameters()):
                        pt.data.copy_(0.005 * p.data + 0.995 * pt.data)
        return loss

    return repeat, losses(lambda: repeat(lambda: noise)), 50


def sac():
    actor, q1, q2 = [mlp(name) for name in ("actor.", "q1.", "q2.")]
    q1_t, q2_t = copy.deepcopy(q1), copy.deepcopy(q2)
    log_alpha = torch.zeros((), requires_grad=True)
    of_actor, of_critics = adam(actor.parameters(), 3e-4), adam([*q1.parameters(), *q2.parameters()], 3e-4)
    of_alpha = adam([log_alpha], 3e-4)
    state, action, gained, after = map(fixture, ("observation", "action", "reward", "next_observation"))
    action, gained = action / 2, gained.unsqueeze(1)  # torques of -2 .. 2
    both, slow = [[*a.parameters(), *b.parameters()] for a, b in ((q1, q2), (q1_t, q2_t))]
    foreach = args.variant == "foreach"

    def policy(x, noise):
        mean, log_deviation = actor(x).chunk(2, -1)
        log_deviation = log_deviation.clamp(-20, 2)
        u = mean + log_deviation.exp() * noise
        gaussian = -0.5 * noise ** 2 - log_deviation - 0.5 * math.log(2 * math.pi)
        return torch.tanh(u), (gaussian - 2 * (math.log(2) - u - F.softplus(-2 * u))).sum(-1, keepdim=True)

    def repeat(noise=None, next_noise=None):
        with torch.no_grad():
            chosen, log_p = policy(after, torch.randn_like(action) if next_noise is None else next_noise)
            x = torch.cat([after, chosen], 1)
            target = gained + 0.99 * (torch.min(q1_t(x), q2_t(x)) - log_alpha.exp() * log_p)
        x = torch.cat([state, action], 1)
        loss = F.mse_loss(q1(x), target) + F.mse_loss(q2(x), target)
        of_critics.zero_grad(set_to_none=True)
        loss.backward()
        of_critics.step()
        for p in both:
            p.requires_grad_(False)
        chosen, log_p = policy(state, torch.randn_like(action) if noise is None else noise)
        x = torch.cat([state, chosen], 1)
        of_actor.zero_grad(set_to_none=True)
        (log_alpha.exp().detach() * log_p - torch.min(q1(x), q2(x))).mean().backward()
        of_actor.step()
        for p in both:
            p.requires_grad_(True)
        of_alpha.zero_grad(set_to_none=True)
        (-log_alpha * (log_p.detach() - 1)).mean().backward()
        of_alpha.step()
        with torch.no_grad():
            if foreach:
                torch._foreach_mul_(slow, 0.995)
                torch._foreach_add_(slow, both, alpha=0.005)
            else:
                for p, pt in zip(both, slow):
                    pt.mul_(0.995).add_(p, alpha=0.005)
        return loss

    return repeat, losses(lambda: repeat(fixture("noise"), fixture("next_noise"))), 50


# ---- serving

cases = {"pets": planning, "det": planning, "grad": gradient, "grad1": gradient,
         "train": train, "small": small, "td3": td3, "sac": sac}
repeat, check, times = cases[args.case]()
print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    if words == ["quit"]:
        break
    if words[:1] == ["check"]:
        numbers = check().detach().float().contiguous().numpy()
        np.save(os.path.join(args.folder, words[1] + ".npy"), numbers)
        print("checked", flush=True)
        continue
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        repeat()
    spent = time.perf_counter() - start, time.process_time() - cpu
    print("%.6f %.6f" % (spent[0] / times * 1e3, spent[1] / times * 1e3), flush=True)
