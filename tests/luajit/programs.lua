-- Programs that keep LuaJIT's compiler busy. Each prints a number that must be the same with the compiler off;
-- `churn` makes code anew all the time and has LuaJIT throw its machine code away.
local bit = require("bit")

local function fib(n)
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end

local function sieve(n)
  local composite, primes = {}, 0
  for i = 2, n do
    if not composite[i] then
      primes = primes + 1
      for j = i * i, n, i do composite[j] = true end
    end
  end
  return primes
end

local function mandelbrot(n)
  local steps = 0
  for y = 0, n - 1 do
    for x = 0, n - 1 do
      local cr, ci, zr, zi, i = 2 * x / n - 1.5, 2 * y / n - 1, 0, 0, 0
      while i < 50 and zr * zr + zi * zi < 4 do
        zr, zi = zr * zr - zi * zi + cr, 2 * zr * zi + ci
        i = i + 1
      end
      steps = steps + i
    end
  end
  return steps
end

local function strings(n)
  local parts, hash = {}, 0
  for i = 1, n do parts[i] = string.format("%05d:%s", i, ("x"):rep(i % 7)) end
  local text = table.concat(parts, ",")
  for i = 1, #text do hash = (hash * 31 + text:byte(i)) % 1000000007 end
  return hash
end

local function sort(n)
  local values, x, hash = {}, 42, 0
  for i = 1, n do
    x = bit.band(x * 75 + 74, 0xffff)
    values[i] = x
  end
  table.sort(values)
  for i = 1, n, 97 do hash = (hash + values[i] * i) % 1000000007 end
  return hash
end

local function orbits(n)
  local x, y, vx, vy = 1, 0, 0, 1
  for _ = 1, n do
    local r2 = x * x + y * y
    local pull = 0.001 / (r2 * math.sqrt(r2))
    vx, vy = vx - x * pull, vy - y * pull
    x, y = x + 0.001 * vx, y + 0.001 * vy
  end
  return string.format("%.14f", x + 2 * y)
end

local function bits(n)
  local hash = 0x1234
  for i = 1, n do hash = bit.bxor(bit.rol(hash, 5), i) end
  return hash
end

local function closures(n)
  local sum = 0
  for i = 1, n do
    local add = function(x) return x + i end
    sum = add(sum) % 1000003
  end
  return sum
end

local function churn(n)
  local sum = 0
  for i = 1, n do
    local run = loadstring("local s = 0 for k = 1, 200 do s = s + k * " .. i .. " end return s")
    sum = (sum + run()) % 1000003
    if i % 50 == 0 then jit.flush() end
  end
  return sum
end

print("fib", fib(24))
print("sieve", sieve(100000))
print("mandelbrot", mandelbrot(60))
print("strings", strings(8000))
print("sort", sort(15000))
print("orbits", orbits(200000))
print("bits", bits(1000000))
print("closures", closures(100000))
print("churn", churn(400))
