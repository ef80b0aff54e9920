--- peers.lua - how PyTorch is run at its best here, and what it is.
local peers = {}

local function first_line(command)
  local pipe = io.popen(command .. " 2> /dev/null", "r")
  local line = pipe:read "l"
  pipe:close()
  return line
end
peers.first_line = first_line

--- The processor's name, and a function that says whether it has a feature.
function peers.processor()
  local name, features = "unknown", ""
  for line in io.lines "/proc/cpuinfo" do
    name = line:match "^model name%s*:%s*(.*)" or name
    features = line:match "^flags%s*:(.*)" or features
  end
  return name, function(feature) return (features .. " "):find(" " .. feature .. " ", 1, true) ~= nil end
end

-- OpenBLAS falls back to its slowest kernels on processors that are younger than it: then it is told.
local function core_type(found, has, kernel)
  if kernel == "avx2" then return "Haswell" end
  local with_avx512 = { SkylakeX = true, Cooperlake = true, SapphireRapids = true }
  if with_avx512[found] then return found end
  if has "avx512f" and has "avx512vl" and has "avx512bw" then return "SkylakeX" end
  if has "avx2" and found ~= "Zen" then return "Haswell" end
  return found
end

--- peers.find(python, kernel, polite): PyTorch, or nil: its version and OpenBLAS's, and `prefix`, what stands in
--- front of its commands. With two threads torch's pool and OpenBLAS's own would spin against each
--- other: the OpenMP build of OpenBLAS shares one pool with torch. Its threads wait for each other
--- spinning, which is fast, but collapses when others use the machine: polite ones sleep.
function peers.find(python, kernel, polite)
  local omp = first_line "ls -d /usr/lib/*/openblas-openmp"
  local environment = (omp and "LD_LIBRARY_PATH=" .. omp .. " " or "")
    .. (kernel == "avx2" and "ATEN_CPU_CAPABILITY=avx2 " or "")
    .. (polite and "OMP_WAIT_POLICY=PASSIVE " or "")
  local script = " tests/bench/torch_peer.py"
  local about = first_line("env " .. environment .. python .. script .. " --about")
  if not about then return nil end
  local torch, openblas, found = about:match "^(%S+) (%S+) (%S+)"
  local _, has = peers.processor()
  local core = core_type(found, has, kernel)
  return {
    torch = torch, openblas = openblas, core = core, found = found, openmp = omp ~= nil,
    polite = polite,
    prefix = ("exec env %sOPENBLAS_CORETYPE=%s %s%s"):format(environment, core, python, script),
  }
end

return peers
