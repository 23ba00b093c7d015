// All samples: sorted, filtered, and divided by a threshold of divergence.
const SORTS = {
  recorded: ["as recorded", (s) => s],
  divergence: ["divergence", (s) => -scoresOf(s).divergence],
  forgetting: ["forgetting events", (s) => -(scoresOf(s).forgetting ?? -1)],
  aum: ["margin (AUM), lowest", (s) => scoresOf(s).aum ?? Infinity],
  probability: ["final probability, lowest", (s) => scoresOf(s).probability ?? Infinity],
  class: ["class", (s) => scoresOf(s).explained],
};
const FILTERS = {
  all: ["all", () => true],
  above: ["above the threshold", isAbove],
  flagged: ["flagged", (s) => scoresOf(s).flagged],
  wrong: ["wrong at the end", (s) => scoresOf(s).correct === false],
  noisy: ["labelled wrongly", (s) => scoresOf(s).noisy],
};
const VALUES = {
  forgetting: (score) => `${score.forgetting ?? "–"} ×`,
  aum: (score) => `AUM ${digits(score.aum)}`,
  probability: (score) => `p ${digits(score.probability)}`,
};
const thumbs = [];
const visible = new Set();
let waitingThumbs = new Set();
let listed = [];

function buildGrid() {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const sample = Number(entry.target.dataset.sample);
      if (entry.isIntersecting) { visible.add(sample); waitingThumbs.add(sample); } else visible.delete(sample);
    }
    draw("thumbs");
  }, { rootMargin: "150px" });
  meta.samples.forEach((about, sample) => {
    const button = element("button", "thumb");
    button.type = "button";
    button.dataset.sample = sample;
    const map = new Picture(...meta.frame);
    const name = element("span", "name"), value = element("span", "value");
    const pictures = stack(imageOf(sample, true), map);
    button.append(pictures, name, value);
    button.addEventListener("click", (event) => {
      const more = event.shiftKey || event.ctrlKey || event.metaKey || $("several").checked;
      const rest = state.samples.filter((s) => s !== sample);
      if (!more) choose([sample]);
      else if (rest.length === state.samples.length) choose([...rest, sample]);
      else if (rest.length) choose(rest);
    });
    thumbs.push({ button, map, name, value, colored: pictures.firstChild, painted: "" });
    seen.observe(button);
  });
}

function arrange() {
  const rank = SORTS[state.sort][1], only = FILTERS[state.only][1];
  listed = meta.samples.map((_, s) => s)
    .filter((s) => only(s) && (state.class === "all" || String(scoresOf(s).explained) === state.class));
  listed.sort((a, b) => rank(a) - rank(b) || a - b);
  if (state.reverse) listed.reverse();
  for (const s of listed) {
    const score = scoresOf(s), { button, name, value } = thumbs[s];
    name.textContent = score.name;
    value.textContent = (score.flagged ? "⚑ " : "") + (VALUES[state.sort] ?? ((found) => digits(found.divergence)))(score);
    button.classList.toggle("above", isAbove(s));
    button.setAttribute("aria-label", `${score.name}, ${meta.samples[s].split} ${meta.samples[s].index}, divergence ` +
      `${digits(score.divergence)}${isAbove(s) ? ", above the threshold" : ""}${score.flagged ? ", flagged" : ""}`);
  }
  $("grid").replaceChildren(...listed.map((s) => thumbs[s].button));
  const all = meta.samples.length, what = [state.only === "all" ? "" : FILTERS[state.only][0], state.class === "all" ? "" : "of this class"];
  $("count").textContent = listed.length ? `${listed.length === all ? "" : `${listed.length} of `}${all} sample${all === 1 ? "" : "s"}`
    : `None of ${all} sample${all === 1 ? "" : "s"} is ${what.filter(Boolean).join(" and ")}.`;
  $("whose").textContent = `Values and maps of ${RUNS[primary()].name}, the first recording that is checked`;
  marked();
  drawHistogram();
}

function marked() {
  const focusable = listed.includes(state.samples[0]) ? state.samples[0] : listed[0];
  thumbs.forEach(({ button }, s) => {
    button.setAttribute("aria-pressed", state.samples.includes(s));
    button.tabIndex = s === focusable ? 0 : -1;
  });
}

const buffer = new Float32Array(PIXELS);
// Paint some of the thumbs that wait; whether there are more of them.
function paintThumbs() {
  const until = performance.now() + 7, run = primary();
  for (const sample of waitingThumbs) {
    if (performance.now() > until) return true;
    waitingThumbs.delete(sample);
    const { map } = thumbs[sample], data = loaded[run][sample];
    map.canvas.hidden = state.view === "image";
    if (state.view === "image") continue;
    if (!data) {
      load(run, sample).then(() => { waitingThumbs.add(sample); draw("thumbs"); });
      continue;
    }
    map.canvas.style.opacity = state.view === "relevance" ? overlay() : 1;
    const step = stepOf[run][state.step];
    if (state.view === "dynamics") map.amount(data.dynamics, largestOf(data.dynamics));
    else if (step >= 0 && frame(data, step, RUNS[run].steps, buffer)) map.signed(buffer, scaleOf(run, sample, buffer));
    else map.empty();
  }
  return false;
}

function scaleOf(run, sample, values) {
  return state.scale === "run" ? RUNS[run].scores[sample].range : largestOf(values);
}

// Histogram ------------------------------------------------------------------------------------------------------------
let axis = null;

function drawHistogram() {
  const canvas = $("histogram"), box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  const values = RUNS[primary()].scores.map((score) => score.divergence).filter((v) => v > 0).map(Math.log10);
  $("divergence").hidden = !values.length;
  if (!box.width || !values.length) return;
  const limit = Math.log10(threshold());
  let low = Math.min(...values), high = Math.max(...values);
  const room = Math.max(0.05, 0.06 * (high - low));
  low -= room;
  high += room;
  axis = { low: Math.min(low, limit), high: Math.max(high, limit + room), width: box.width };
  const bins = Math.max(8, Math.min(48, Math.round(box.width / 11)));
  const counts = new Array(bins).fill(0);
  const scale = bins / (axis.high - axis.low);
  values.forEach((v) => counts[Math.min(bins - 1, Math.floor((v - axis.low) * scale))]++);
  canvas.width = box.width * ratio;
  canvas.height = box.height * ratio;
  const g = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  g.scale(ratio, ratio);
  const floor = box.height - 21, wide = box.width / bins, most = Math.max(...counts, 1);
  const at = (v) => ((v - axis.low) / (axis.high - axis.low)) * box.width;
  counts.forEach((count, i) => {
    if (!count) return;
    const middle = axis.low + (i + 0.5) / scale, height = (count / most) * (floor - 8);
    g.fillStyle = color(middle > limit ? "--warn" : "--accent");
    g.fillRect(i * wide + 1, floor - height, Math.max(1, wide - 2), height);
  });
  g.fillStyle = color("--ink");
  for (const s of state.samples) {
    const x = at(Math.log10(scoresOf(s).divergence));
    g.beginPath(); g.moveTo(x, floor - 1); g.lineTo(x - 4, floor + 5); g.lineTo(x + 4, floor + 5); g.fill();
  }
  g.fillStyle = color("--line");
  g.fillRect(0, floor, box.width, 1);
  g.fillStyle = color("--soft");
  g.font = "11px system-ui, sans-serif";
  g.textAlign = "center";
  const ticks = ticksOf(10 ** axis.low, 10 ** axis.high, Math.max(2, Math.floor(box.width / 60)));
  canvas.dataset.ticks = JSON.stringify(ticks.map((value) => [value, at(Math.log10(value))]));
  for (const value of ticks) {
    const text = digits(value), x = at(Math.log10(value)), half = g.measureText(text).width / 2 + 1;
    g.fillRect(x - 0.5, floor, 1, 4);
    g.fillText(text, Math.max(half, Math.min(box.width - half, x)), box.height - 2);
  }
  $("axis").textContent = `How many samples by divergence, logarithmic${RUNS.length > 1 ? ` · ${RUNS[primary()].name}` : ""}`;
  g.fillStyle = color("--warn");
  const x = at(limit);
  g.fillRect(x - 1, 0, 2, floor);
  g.beginPath(); g.arc(x, 7, 6, 0, 7); g.fill();
  const above = meta.samples.filter((_, s) => isAbove(s)).length;
  const { median, spread } = RUNS[primary()];
  const z = spread > 0 ? ` (log-MAD z ${digits((Math.log(threshold()) - median) / spread)})` : "";
  $("above").textContent = `${above} of ${meta.samples.length} samples above ${digits(threshold())}${z}; drag to change`;
  canvas.setAttribute("aria-valuemin", 10 ** axis.low);
  canvas.setAttribute("aria-valuemax", 10 ** axis.high);
  canvas.setAttribute("aria-valuenow", threshold());
  canvas.setAttribute("aria-valuetext", `${digits(threshold())}, ${above} samples above`);
}

// Round numbers along a logarithmic axis: powers of ten, or some between them, or even steps; the most that fit.
function ticksOf(low, high, most) {
  const within = (values) => values.filter((v) => v >= low && v <= high);
  const decades = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++) decades.push(p);
  const logs = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]].map((parts) => decades.flatMap((p) => parts.map((part) => part * 10 ** p)));
  const sets = [...(high > 3 * low ? [] : [5, 2, 1].map((by) => {
    const size = 10 ** Math.floor(Math.log10((high - low) / 2)), step = size / by, first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
  })), ...logs, decades.filter((p) => p % 4 === 0).map((p) => 10 ** p)].map(within);
  return sets.find((values) => values.length <= most) ?? [];
}

function setThreshold(log10) {
  state.threshold = Number((10 ** log10).toPrecision(4));
  draw("list");
  remember();
}

function buildHistogram() {
  const canvas = $("histogram");
  const drag = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = Math.max(0.002, Math.min(0.998, (event.clientX - box.left) / box.width));
    setThreshold(held.low + share * (held.high - held.low));
  };
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { ...axis }; canvas.setPointerCapture(event.pointerId); drag(event); });
  canvas.addEventListener("pointermove", (event) => { if (held) drag(event); });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    setThreshold(Math.log10(threshold()) + (by * (axis.high - axis.low)) / 100);
  });
  new ResizeObserver(drawHistogram).observe(canvas);
}
