// What is shown, and when it is drawn again. A link holds what differs from the beginning.
const timeline = [...new Set(RUNS.flatMap((run) => run.iteration))].sort((a, b) => a - b);
// Of each run its step at each place of the timeline, the last one recorded until then; -1 before its first.
const stepOf = RUNS.map(({ iteration }) => {
  let own = -1;
  return Int32Array.from(timeline, (now) => {
    while (own + 1 < iteration.length && iteration[own + 1] <= now) own++;
    return own;
  });
});
const LAST = timeline.length - 1;
const MOST_SAMPLES = 6;
const BEGIN = {
  samples: [0], step: LAST, runs: RUNS.map((_, i) => i).slice(0, 4), view: "relevance", opacity: 85, scale: "frame",
  sort: "recorded", reverse: false, class: "all", only: "all", threshold: null,
};
const state = { ...BEGIN };
const primary = () => state.runs[0]; // the recording whose values sort and divide the samples
const overlay = () => (meta.under ? state.opacity / 100 : 1);
const scoresOf = (sample) => RUNS[primary()].scores[sample];
const threshold = () => state.threshold ?? RUNS[primary()].threshold;
const isAbove = (sample) => scoresOf(sample).divergence > threshold();

const dirty = new Set();
let waiting = false;
// Draw again at the next frame of the screen; what: "step", "focus", "list", "thumbs".
function draw(...what) {
  what.forEach((name) => dirty.add(name));
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const now = new Set(dirty);
    dirty.clear();
    if (now.has("list")) arrange();
    if (now.has("focus")) focus();
    if (now.has("step") || now.has("focus")) { showStep(); if (paintRows()) draw("step"); moveCursor(); }
    if (now.size > (now.has("thumbs") ? 1 : 0)) waitingThumbs = new Set(visible);
    if (paintThumbs()) draw("thumbs");
  });
}

function goTo(step) {
  const to = Math.max(0, Math.min(LAST, Math.round(step)));
  if (to === state.step) return;
  state.step = to;
  draw("step");
  remember();
}

function choose(samples) {
  state.samples = samples.slice(-MOST_SAMPLES);
  draw("focus");
  marked();
  remember();
}

const SHORT = { samples: "s", step: "t", runs: "r", view: "v", opacity: "o", scale: "scale", sort: "sort", reverse: "rev",
  class: "class", only: "only", threshold: "th" };

function link() {
  const parts = [];
  for (const [name, short] of Object.entries(SHORT)) {
    if (JSON.stringify(state[name]) === JSON.stringify(BEGIN[name]) && name !== "samples" && name !== "step") continue;
    const value = name === "step" ? timeline[state.step] : name === "reverse" ? 1 : state[name];
    parts.push(`${short}=${encodeURIComponent(value)}`);
  }
  return `#${parts.join("&")}`;
}

let remembered = 0, own = null;
function remember() {
  clearTimeout(remembered);
  remembered = setTimeout(() => {
    own = link();
    try { history.replaceState(null, "", own); } catch { location.replace(own); }
  }, 250);
}

// What a link asks for, as far as there is such a thing here.
function recall(hash) {
  const found = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
  const list = (text, size) => {
    const numbers = [...new Set((text ?? "").split(",").map(Number))];
    return numbers.filter((n) => Number.isInteger(n) && n >= 0 && n < size);
  };
  const among = (text, id, begin) => ([...$(id).options].some((option) => option.value === text) ? text : begin);
  Object.assign(state, BEGIN);
  const samples = list(found.s, meta.samples.length), runs = list(found.r, RUNS.length);
  if (found.s && samples.length) state.samples = samples.slice(0, MOST_SAMPLES);
  if (found.r && runs.length) state.runs = runs.sort((a, b) => a - b);
  if (found.t !== undefined && Number.isFinite(Number(found.t))) {
    const at = timeline.findLastIndex((now) => now <= Number(found.t));
    state.step = Math.max(0, at);
  }
  for (const name of ["view", "scale", "sort", "class", "only"]) state[name] = among(found[SHORT[name]], name, BEGIN[name]);
  if (found.o !== undefined && found.o >= 0 && found.o <= 100) state.opacity = Number(found.o);
  if (found.th !== undefined && found.th > 0) state.threshold = Number(found.th);
  state.reverse = found.rev === "1";
}
