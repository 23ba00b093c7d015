// The chosen samples: image, relevance over it, its change, accumulated dynamics; a row for each recording.
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b97f00", "#a0478a", "#3d8fbf", "#6b6b6b"];
const DARK = ["#58b4f0", "#ff9a5c", "#3ecf9f", "#f0bd3f", "#e39ccb", "#9fd3f5", "#b5b5b5"];
let rows = [];
const before = new Float32Array(PIXELS);

function isDark() { return document.documentElement.dataset.theme === "dark"; }

// One color for each line while there are enough, else one for each sample, and dashes for recordings.
function look(sample, run) {
  const palette = isDark() ? DARK : LIGHT, s = state.samples.indexOf(sample), r = state.runs.indexOf(run);
  const many = state.samples.length * state.runs.length > palette.length;
  const at = many && state.samples.length > 1 ? s : s * state.runs.length + r;
  const dash = many && state.samples.length > 1 && r ? [[8, 4], [2, 3], [10, 3, 2, 3]][(r - 1) % 3] : undefined;
  return { color: palette[at % palette.length], dash };
}

function focus() {
  rows = [];
  $("groups").replaceChildren(...state.samples.map(group));
  $("groups").classList.toggle("compact", state.runs.length > 1 || state.samples.length > 1);
  drawCharts();
  drawHistogram();
}

function group(sample) {
  const made = element("article", "group"), who = element("div", "who"), about = meta.samples[sample], score = scoresOf(sample);
  if (state.samples.length > 1) made.style.setProperty("--own", look(sample, primary()).color);
  const image = imageOf(sample, false), figure = element("figure", "image");
  figure.append(meta.pictured ? stack(image) : element("p", "", "no image"));
  image.canvas.setAttribute("role", "img");
  image.canvas.setAttribute("aria-label", `Sample: ${score.name}`);
  who.append(figure, element("h2", "", score.name), element("p", "", `${about.split} ${about.index}`));
  if (score.noisy) who.append(element("p", "mark", "labelled wrongly"));
  if (RUNS.length === 1) who.append(...facts(score));
  const runs = element("div", "");
  runs.append(...state.runs.map((run) => row(sample, run)));
  made.append(who, runs);
  return made;
}

// What a recording tells of a sample as a whole.
function facts(score) {
  const known = { divergence: digits(score.divergence), "log-MAD z": digits(score.z), AUM: digits(score.aum),
    forgotten: score.forgetting === null ? "–" : `${score.forgetting} ×` };
  const list = element("dl"), flag = element("p", "mark", score.kind === "none" ? "⚑ flagged" : `⚑ flagged, ${score.kind}`);
  for (const [name, value] of Object.entries(known)) {
    if (value === "–") continue;
    const pair = element("div");
    pair.append(element("dt", "", name), element("dd", "", value));
    list.append(pair);
  }
  return score.flagged ? [flag, list] : [list];
}

function row(sample, run) {
  const made = element("div", "run"), title = element("h3"), now = element("span"), panels = element("div", "panels");
  if (RUNS.length > 1) title.append(element("b", "", RUNS[run].name));
  title.append(now);
  const own = { sample, run, now };
  for (const [name, text] of [["relevance", "Relevance"], ["change", "Change"], ["dynamics", "Accumulated dynamics"]]) {
    const picture = new Picture(...meta.frame), figure = element("figure"), caption = element("figcaption");
    const value = element("span");
    caption.append(element("b", "", text), value);
    const pictures = name === "relevance" ? [imageOf(sample, true), picture] : [picture];
    pictures.slice(0, -1).forEach(({ canvas }) => canvas.setAttribute("aria-hidden", "true"));
    picture.canvas.setAttribute("role", "img");
    const panel = stack(...pictures);
    scrubbed(panel);
    figure.append(panel, caption);
    panels.append(figure);
    own[name] = { picture, value, text };
  }
  const score = RUNS[run].scores[sample];
  if (score.name !== scoresOf(sample).name) title.append(element("span", "", ` explained: ${score.name}`));
  made.append(title, ...(RUNS.length > 1 ? facts(score) : []), panels);
  rows.push(own);
  if (!loaded[run][sample]) load(run, sample).then(() => draw("step"));
  return made;
}

// Steps of dynamics that are added up before the screen is shown again.
const AT_ONCE = 400;

// Paint what belongs to the step; tell whether there is more to add up.
function paintRows() {
  let more = false;
  for (const { sample, run, now, relevance, change, dynamics } of rows) {
    relevance.picture.canvas.style.opacity = overlay();
    const data = loaded[run][sample], step = stepOf[run][state.step], steps = RUNS[run].steps;
    if (!data) continue;
    if (paintSum(dynamics, data, step, steps)) more = true;
    if (step < 0 || !frame(data, step, steps, buffer)) {
      relevance.picture.empty();
      change.picture.empty();
      relevance.value.textContent = step < 0 ? "not recorded yet" : "maps of this sample are not stored";
      change.value.textContent = now.textContent = "";
      continue;
    }
    const largest = largestOf(buffer);
    relevance.picture.signed(buffer, state.scale === "run" ? RUNS[run].scores[sample].range : largest);
    relevance.value.textContent = `sum ${digits(data.r_sum[step])}, largest ±${digits(largest)}`;
    if (step > 0) {
      frame(data, step - 1, steps, before);
      for (let p = 0; p < PIXELS; p++) before[p] = buffer[p] - before[p];
      const most = largestOf(before);
      change.picture.signed(before, state.scale === "run" ? RUNS[run].scores[sample].range : most);
      change.value.textContent = `since step ${RUNS[run].iteration[step - 1]}, in all ${digits(data.step_divergence[step])}`;
    } else {
      change.picture.empty();
      change.value.textContent = "the first step";
    }
    if (data.predicted) {
      const predicted = data.predicted[step], label = RUNS[run].scores[sample].label;
      const name = meta.classes[predicted] ?? `class ${predicted}`;
      now.textContent = predicted < 0 ? "" : `predicted: ${name}${label < 0 ? "" : predicted === label ? " ✓" : " ✗"}`;
    }
    if (!playing) for (const panel of [relevance, change, dynamics]) panel.picture.canvas.setAttribute("aria-label", `${panel.text}, ${panel.value.textContent}`);
  }
  return more;
}

// Paint the dynamics up to a step; tell whether they are not added up yet.
function paintSum(panel, data, step, steps) {
  const most = (data.most ??= largestOf(data.dynamics));
  const whole = step === steps - 1 || !data.gain;
  const sum = step < 0 ? null : whole ? data.dynamics : accumulated(data, step, steps, Math.ceil(AT_ONCE / rows.length));
  if (step < 0) panel.picture.empty();
  if (step < 0 || !sum) {
    panel.value.textContent = step < 0 ? "not recorded yet" : "adding up …";
    return step >= 0;
  }
  const largest = whole ? most : largestOf(sum);
  panel.picture.amount(sum, state.scale === "run" ? most : largest);
  panel.value.textContent = whole ? `whole recording, most ${digits(most)}` : `up to here, most ${digits(largest)}`;
  return false;
}

// Drag across to move through the training.
function scrubbed(panel) {
  let from = null;
  panel.addEventListener("pointerdown", (event) => { from = { x: event.clientX, step: state.step }; panel.setPointerCapture(event.pointerId); });
  panel.addEventListener("pointermove", (event) => {
    if (from) goTo(from.step + ((event.clientX - from.x) / panel.clientWidth) * (LAST / 3));
  });
  for (const end of ["pointerup", "pointercancel"]) panel.addEventListener(end, () => { from = null; });
}
