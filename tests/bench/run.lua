--- The benchmark: every case by Orrery and by PyTorch, interleaved, after their numbers were compared.
---
---   make bench                                                    all of it
---   build/orrery run tests/bench/run.lua --cases=pets,det --reps=11
---
--- Prints a table and writes build/bench.json. Without PyTorch (make bench-peers) only Orrery's times.
local orrery = require "orrery"
package.path = "tests/bench/?.lua;" .. package.path
local peers, start_server = require "peers", require "server"

local options = orrery.options({
  cases = { "pets", "det", "grad", "grad1", "train", "small", "td3", "sac" },
  threads = { 1, 2 },           -- numbers of threads
  reps = 7,                     -- timed repetitions
  kernel = "best",              -- avx2: as on a processor without AVX-512, PyTorch too
  clock = "wall",               -- cpu: time of all threads of a process, for one thread on a busy machine
  of = "median",                -- low: compares the shortest times, for a busy machine
  peers = true,                 -- false: Orrery alone
  python = "/usr/bin/python3",  -- which one has PyTorch
  program = "build/orrery",     -- what is measured
  json = "build/bench.json",
  quick = false,
}, { quick = { reps = 3 } })

local TOLERANCE = 1e-4

-- Goals at 2 threads: times as fast as the best variant of PyTorch and as mbrl-lib's form, and share of
-- the peak.
local cases = {
  pets  = { variants = { "mbrl", "best", "loop", "chunk", "jit" }, ratio = 2, share = 0.8, mbrl = 2.7 },
  det   = { variants = { "mbrl", "best", "chunk", "jit" }, ratio = 2, share = 0.8, mbrl = 3 },
  grad  = { variants = { "best" }, ratio = 4, share = 0.6 },
  grad1 = { variants = { "best" }, ratio = 6, share = 0.6 },
  train = { variants = { "mbrl", "best", "foreach", "jit" }, ratio = 2.8, share = 0.65, mbrl = 3.2 },
  small = { variants = { "best", "foreach", "jit" }, ratio = 3, share = 0.6 },
  td3   = { variants = { "best", "foreach" }, ratio = 3, share = 0.6 },
  sac   = { variants = { "best", "foreach" }, ratio = 2, share = 0.6 },
}
local SCALING = 1.9

local kernel = options.kernel ~= "best" and options.kernel or nil

-- ---- servers

local function start_ours(case, folder, threads)
  return start_server {
    name = "orrery", folder = folder,
    command = ("exec %s --threads=%d %s run tests/bench/cases.lua --case=%s --folder=%s"):format(
      options.program, threads, kernel and "--kernel=" .. kernel or "", case, folder),
  }
end

local function start_peer(torch, case, folder, threads, variant)
  return start_server {
    name = variant, folder = folder,
    command = ("%s --case %s --variant %s --threads %d --folder %s"):format(
      torch.prefix, case, variant, threads, folder),
  }
end

-- Greatest difference, relative to the mean size of the numbers.
local function difference(a, b)
  return orrery.abs(a:reshape(-1) - b:reshape(-1)):max() / orrery.abs(b):mean()
end

local function compare(expected, server, what)
  local apart = difference(server:check(what), expected)
  if not (apart <= TOLERANCE) then
    error(("%s differs by %.1e, more than %.0e"):format(what, apart, TOLERANCE), 0)
  end
  return apart
end

-- Starts all variants, checks them, and keeps the fastest of two repetitions, and mbrl where that is
-- another one.
local function choose_peers(torch, case, folder, threads, expected)
  local best, best_time, mbrl
  local worst = 0
  for _, variant in ipairs(cases[case].variants) do
    local server = start_peer(torch, case, folder, threads, variant)
    worst = math.max(worst, compare(expected, server, variant))
    server:repetition(options.clock)
    local time = math.min(server:repetition(options.clock), server:repetition(options.clock))
    if variant == "mbrl" then mbrl = server end
    if not best or time < best_time then
      if best and best ~= mbrl then best:close() end
      best, best_time = server, time
    elseif server ~= mbrl then
      server:close()
    end
  end
  return best, mbrl ~= best and mbrl or nil, worst
end

-- ---- one case

local function statistics(times)
  table.sort(times)
  local n = #times
  local median = (times[(n + 1) // 2] + times[n // 2 + 1]) / 2
  return { median = median, low = times[1], high = times[n] }
end

-- Servers by role and number of threads, checked against each other.
local function start_all(torch, case, folder)
  local all, expected, worst = {}, nil, 0
  for i, threads in ipairs(options.threads) do
    local ours = start_ours(case, folder, threads)
    local numbers = ours:check("ours" .. threads)
    if i > 1 and not numbers:same(expected) then
      error(("the bits on %d threads differ"):format(threads), 0)
    end
    expected = numbers
    local entry = { threads = threads, ours = ours }
    if torch then
      local apart
      entry.best, entry.mbrl, apart = choose_peers(torch, case, folder, threads, expected)
      worst = math.max(worst, apart)
    end
    all[i] = entry
  end
  return all, torch and worst
end

-- The first choice was by two repetitions only.
local function choose_best(result, name)
  if name == "mbrl" then result.mbrl = result.best end
  local faster = result.mbrl and result.mbrl[options.of] < result.best[options.of]
  result.variant = faster and "mbrl" or name
  if faster then result.best = result.mbrl end
end

local roles = { "ours", "best", "mbrl" }

local function measure(torch, case)
  local folder = "build/bench/" .. case
  assert(os.execute(("rm -rf '%s' && mkdir -p '%s'"):format(folder, folder)))
  local all, apart = start_all(torch, case, folder)
  local results = {}
  for i, entry in ipairs(all) do
    results[i] = { threads = entry.threads, apart = apart, flops = entry.ours.flops, times = {} }
  end
  for repetition = 0, options.reps do -- the first warms up
    for i, entry in ipairs(all) do
      for _, role in ipairs(roles) do
        local times = results[i].times
        times[role] = times[role] or {}
        local time = entry[role] and entry[role]:repetition(options.clock)
        if repetition > 0 and time then table.insert(times[role], time) end
      end
    end
  end
  for i, entry in ipairs(all) do
    for _, role in ipairs(roles) do
      if entry[role] then results[i][role] = statistics(results[i].times[role]) end
    end
    choose_best(results[i], entry.best and entry.best.name)
    for _, role in ipairs(roles) do
      if entry[role] then entry[role]:close() end
    end
  end
  return results
end

-- ---- the table

local function peak()
  local most = math.max(table.unpack(options.threads))
  local line = peers.first_line(("build/bench/bench_peak %s %d"):format(kernel or "best", most))
  local set, rest = line:match "^(%S+) (.*)"
  local by_threads = {}
  for number in rest:gmatch "%S+" do by_threads[#by_threads + 1] = tonumber(number) end
  return set, by_threads
end

local function goal(met, format, value)
  return value and (met and "+" or "-") .. format:format(value) or ""
end

local function print_row(case, r)
  local goals = r.threads == 2 and cases[case] or {}
  local line = ("%-6s%2d %9.2f %20s %4.0f%% %6s"):format(case, r.threads, r.ours[options.of],
    ("%.2f .. %.2f"):format(r.ours.low, r.ours.high), 100 * r.share,
    goal(goals.share and r.share >= goals.share, "%.0f%%", goals.share and 100 * goals.share))
  if r.best then
    line = line .. (" %8s %9.2f %4.0f%% %6.2f %5s"):format(r.variant, r.best[options.of], 100 * r.peer_share,
      r.ratio, goal(goals.ratio and r.ratio >= goals.ratio, "%.1f", goals.ratio))
  end
  if r.mbrl then
    line = line .. (" %6.2f %5s"):format(r.mbrl_ratio, goal(goals.mbrl and r.mbrl_ratio >= goals.mbrl, "%.1f", goals.mbrl))
  end
  print(line)
end

local function complete(results, by_threads)
  for i, r in ipairs(results) do
    local limit, ours = by_threads[r.threads] * 1e6, r.ours[options.of]
    r.share = r.flops / ours / limit
    r.speedup = i > 1 and results[1].ours[options.of] / ours or nil
    if r.best then
      local best = r.best[options.of]
      r.peer_share, r.ratio = r.flops / best / limit, best / ours
    end
    if r.mbrl then r.mbrl_ratio = r.mbrl[options.of] / ours end
  end
end

local function record(case, r, shared)
  local entry = {
    case = case, threads = r.threads, ours = r.ours, share_of_peak = r.share, speedup = r.speedup,
    peer = r.best, variant = r.variant, ratio = r.ratio, peer_share_of_peak = r.peer_share,
    mbrl = r.mbrl, mbrl_ratio = r.mbrl_ratio, difference = r.apart,
  }
  for key, value in pairs(shared) do entry[key] = value end
  return entry
end

-- Seconds that processors spent with work, in units that do not matter, and in all.
local function worked()
  local line, all, idle = peers.first_line("cat /proc/stat"), 0, 0
  local place = 0
  for number in line:gmatch "%d+" do
    place, all = place + 1, all + tonumber(number)
    if place == 4 or place == 5 then idle = idle + tonumber(number) end -- idle, waiting for a disk
  end
  return all - idle, all
end

-- Whether others work here now; the load average would count what ran before.
local function is_busy()
  local before, all_before = worked()
  os.execute "sleep 1"
  local after, all_after = worked()
  local share = (after - before) / math.max(1, all_after - all_before)
  if share < 0.15 then return false end
  print(("This machine is busy (%.0f %%): times and ratios are worth little."):format(100 * share))
  return true
end

local function main()
  for _, case in ipairs(options.cases) do
    if not cases[case] then error("there is no case " .. case, 0) end
  end
  local torch = options.peers and peers.find(options.python, kernel, is_busy())
  if options.peers and not torch then print "PyTorch is not here (make bench-peers installs it): Orrery alone" end
  local set, by_threads = peak()
  local processor = peers.processor()
  local shared = {
    commit = peers.first_line "git describe --always --dirty", processor = processor, kernel = set,
    torch = torch and torch.torch, openblas = torch and torch.openblas, core = torch and torch.core,
    polite = torch and torch.polite,
    peak = by_threads, clock = options.clock, of = options.of,
  }
  print(("%-6s%2s %9s %20s %5s %6s %8s %9s %5s %6s %5s %6s %5s"):format("case", "T", "ms", "min .. max",
    "peak", "goal", "PyTorch", "ms", "peak", "ratio", "goal", "mbrl", "goal"))
  local list, failed, speedups = {}, false, {}
  for _, case in ipairs(options.cases) do
    local ok, results = pcall(measure, torch, case)
    if not ok then
      failed = true
      print(("%-6s   FAILED: %s"):format(case, results))
    else
      complete(results, by_threads)
      for _, r in ipairs(results) do
        print_row(case, r)
        list[#list + 1] = record(case, r, shared)
        if r.speedup then speedups[#speedups + 1] = ("%s %.2f"):format(case, r.speedup) end
      end
    end
  end
  if #speedups > 0 then
    print(("\nspeed-up over %d thread, goal %.1f: %s"):format(options.threads[1], SCALING,
      table.concat(speedups, ", ")))
  end
  print(("%s, %s kernels, peak %s GFLOP/s; commit %s; %d repetitions, %s of %s time; goals are of 2 threads")
    :format(processor, set, table.concat(by_threads, " / "), shared.commit, options.reps, options.of, options.clock))
  if torch then
    print(("PyTorch %s on OpenBLAS %s (%s%s), %s build"):format(torch.torch, torch.openblas, torch.core,
      torch.core ~= torch.found and ", told: by itself it takes " .. torch.found or "",
      torch.openmp and "OpenMP" or "pthread: install libopenblas0-openmp for a fair number")
      .. (torch.polite and "; its threads wait without spinning, as the machine is busy" or ""))
  end
  local file = assert(io.open(options.json, "w"))
  file:write(orrery.json.encode(list), "\n")
  file:close()
  if failed then os.exit(1, true) end
end

main()
