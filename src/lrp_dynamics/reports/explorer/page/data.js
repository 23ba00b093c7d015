// What the page holds, as packing.py wrote it.
const $ = (id) => document.getElementById(id);
const meta = JSON.parse($("meta").textContent);
const PIXELS = meta.frame[0] * meta.frame[1];
const RUNS = meta.recordings;

async function unpack(id) {
  const text = atob($(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const heads = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const padded = (n) => n + ((4 - (n % 4)) % 4);
  let at = 4 + padded(length);
  const arrays = {};
  for (const [name, kind, count, row] of heads) {
    const width = Number(kind[1]);
    arrays[name] = numbers(new Uint8Array(buffer, at, count * width), kind, width, count, row);
    at += padded(count * width);
  }
  return arrays;
}

// All first bytes, then all second ones ...; `row` numbers at a time are differences from the one before.
function numbers(planes, kind, width, count, row) {
  const Bits = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[width];
  const bits = new Bits(count);
  for (let b = 0, at = 0; b < width; b++) {
    for (let i = 0; i < count; i++, at++) bits[i] |= planes[at] << (8 * b);
  }
  if (row) for (let i = 0; i < count; i++) if (i % row) bits[i] += bits[i - 1];
  if (kind === "f4") return new Float32Array(bits.buffer);
  if (kind === "f2") return Float32Array.from(bits, half);
  if (kind === "i2") return new Int16Array(bits.buffer);
  return kind === "i1" ? new Int8Array(bits.buffer) : bits;
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, rest = bits & 1023;
  if (exponent === 31) return rest ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -14 * (rest / 1024));
}

// The frames and curves of a sample in a recording; decoded when first asked for.
const loaded = RUNS.map(() => []);
const loading = RUNS.map(() => []);
function load(run, sample) {
  loading[run][sample] ??= unpack(`s-${run}-${sample}`).then((found) => {
    const score = RUNS[run].scores[sample];
    for (const name of ["logit", "r_sum", "r_abs_sum", "step_divergence"]) {
      const values = found[name], scale = score[`scale_${name}`];
      for (let i = 0; i < values.length; i++) values[i] *= scale;
    }
    loaded[run][sample] = found;
    return found;
  });
  return loading[run][sample];
}

// Relevance of a sample at a step, into `out`; encoding.py has the formula.
function frame(data, step, steps, out) {
  const { gain, weights, courses, patterns, frames } = data;
  if (!gain) return false;
  if (frames) {
    const unit = gain[step];
    for (let p = 0, at = step * PIXELS; p < PIXELS; p++, at++) out[p] = frames[at] * unit;
    return true;
  }
  out.fill(0);
  for (let k = 0; k < weights.length; k++) {
    const weight = courses[k * steps + step] * weights[k] * gain[step];
    if (weight) for (let p = 0, at = k * PIXELS; p < PIXELS; p++, at++) out[p] += weight * patterns[at];
  }
  return true;
}
