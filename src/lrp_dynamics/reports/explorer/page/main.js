// Controls, keys, and the beginning.
let playing = false;
const SPEEDS = [5, 15, 30, 60, 120, 300];

function showStep() {
  const run = state.runs.find((r) => stepOf[r][state.step] >= 0) ?? primary();
  const step = Math.max(0, stepOf[run][state.step]), at = losses[run];
  const parts = [`step ${timeline[state.step]} of ${timeline[LAST]}`];
  if (at && Number.isFinite(at.epoch[step])) parts.push(`epoch ${at.epoch[step].toFixed(1)}`);
  if (at && Number.isFinite(at.train_loss[step])) parts.push(`loss ${digits(at.train_loss[step])}`);
  $("step").value = state.step;
  $("step").setAttribute("aria-valuetext", parts.join(", "));
  $("readout").textContent = parts.join(" · ");
}

let started = null;
function play(on) {
  if (on === playing) return;
  playing = on;
  $("play").classList.toggle("playing", on);
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (!on) { draw("step"); return; }
  if (state.step === LAST) goTo(0);
  started = { at: performance.now(), step: state.step };
  requestAnimationFrame(advance);
}

function advance(now) {
  if (!playing) return;
  const to = Math.floor(started.step + ((now - started.at) / 1000) * Number($("speed").value));
  goTo(Math.min(LAST, Math.max(state.step, to)));
  if (state.step >= LAST) play(false); else requestAnimationFrame(advance);
}

function jump(step) {
  goTo(step);
  started = { at: performance.now(), step: state.step };
}

function nextSample(by, added) {
  if (!listed.length) return;
  const at = listed.indexOf(state.samples[state.samples.length - 1]);
  const sample = listed[Math.max(0, Math.min(listed.length - 1, at < 0 ? 0 : at + by))];
  const rest = state.samples.filter((s) => s !== sample);
  choose(added ? [...rest, sample] : [sample]);
  thumbs[sample].button.scrollIntoView({ block: "nearest" });
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = dark ? "Light" : "Dark";
  draw("focus");
}

// Have the controls show what the state is.
function showControls() {
  for (const name of ["opacity", "scale", "sort", "class", "only", "view"]) $(name).value = state[name];
  $("through").hidden = !meta.under || state.opacity === 100;
  $("reverse").setAttribute("aria-pressed", state.reverse);
  $("runs").querySelectorAll("input").forEach((box, run) => { box.checked = state.runs.includes(run); });
}

function options(id, pairs) {
  $(id).replaceChildren(...pairs.map(([value, text]) => {
    const option = element("option", "", text);
    option.value = value;
    return option;
  }));
}

function buildControls() {
  options("sort", Object.entries(SORTS).map(([name, [text]]) => [name, text]));
  options("only", Object.entries(FILTERS).filter(([name, [, is]]) => name !== "noisy" || meta.samples.some((_, s) => is(s)))
    .map(([name, [text]]) => [name, text]));
  const names = new Map(RUNS[0].scores.map((score) => [score.explained, score.name]));
  const known = [...names].filter(([number]) => number >= 0).sort((a, b) => a[0] - b[0]);
  options("class", [["all", "all"], ...known]);
  options("speed", SPEEDS.map((speed) => [speed, `${speed} steps/s`]));
  $("speed").value = SPEEDS.find((speed) => LAST / speed <= 25) ?? 120;
  $("step").max = LAST;
  RUNS.forEach((run, i) => {
    const label = element("label"), box = element("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      const chosen = [...$("runs").querySelectorAll("input")].flatMap(({ checked }, r) => (checked ? [r] : []));
      state.runs = chosen.length ? chosen : [i];
      showControls();
      draw("focus", "list");
      remember();
    });
    label.append(box, ` ${run.name}`);
    $("runs").append(label);
  });
  $("runs").hidden = $("whose").hidden = RUNS.length < 2;
  $("overlay").hidden = !meta.under;
  if (!meta.pictured) $("view").querySelector("[value=image]").remove();
  for (const name of ["scale", "sort", "class", "only", "view"]) {
    $(name).addEventListener("change", () => { state[name] = $(name).value; draw("list", "step"); remember(); });
  }
  $("opacity").addEventListener("input", () => { state.opacity = Number($("opacity").value); showControls(); draw("step"); remember(); });
  $("reverse").addEventListener("click", () => { state.reverse = !state.reverse; showControls(); draw("list"); remember(); });
  $("step").addEventListener("input", () => jump(Number($("step").value)));
  $("first").addEventListener("click", () => jump(0));
  $("back").addEventListener("click", () => { play(false); jump(state.step - 1); });
  $("play").addEventListener("click", () => play(!playing));
  $("forward").addEventListener("click", () => { play(false); jump(state.step + 1); });
  $("last").addEventListener("click", () => jump(LAST));
  $("speed").addEventListener("change", () => { started = { at: performance.now(), step: state.step }; });
  $("theme").addEventListener("click", () => setTheme(!isDark()));
  $("help").addEventListener("click", () => $("keys").showModal());
  $("skip").addEventListener("click", (event) => { event.preventDefault(); $("step").focus(); });
  $("share").addEventListener("click", async () => {
    const address = location.href.replace(/#.*$/, "") + link();
    try { await navigator.clipboard.writeText(address); $("share").textContent = "Copied"; } catch { location.hash = link(); $("share").textContent = "See the address"; }
    setTimeout(() => { $("share").textContent = "Copy link"; }, 1500);
  });
  addEventListener("hashchange", () => { if (location.hash !== own) { recall(location.hash); showControls(); draw("list", "focus"); } });
  addEventListener("keydown", pressed);
}

function pressed(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || $("keys").open) return;
  const on = event.target, typing = on.matches("select, input[type=range]") && on.id !== "step";
  const by = event.shiftKey ? 10 : 1;
  const keys = {
    ArrowLeft: () => { play(false); jump(state.step - by); }, ArrowRight: () => { play(false); jump(state.step + by); },
    Home: () => jump(0), End: () => jump(LAST),
    ArrowUp: () => nextSample(-1, event.shiftKey), ArrowDown: () => nextSample(1, event.shiftKey),
  };
  const letters = {
    " ": () => play(!playing), "[": () => opacity(-10), "]": () => opacity(10), s: () => turned("scale"), v: () => turned("view"),
    t: () => setTheme(!isDark()), "?": () => $("keys").showModal(),
  };
  if (event.key === " " && on.matches("button, summary, input[type=checkbox]")) return;
  const found = typing && (keys[event.key] || event.key === " ") ? null : keys[event.key] ?? letters[event.key];
  if (!found) return;
  event.preventDefault();
  found();
}

function opacity(by) {
  state.opacity = Math.max(0, Math.min(100, state.opacity + by));
  showControls();
  draw("step");
  remember();
}

function turned(name) {
  const all = [...$(name).options].map((option) => option.value);
  state[name] = all[(all.indexOf(state[name]) + 1) % all.length];
  showControls();
  draw("step");
  remember();
}

function describe() {
  const first = RUNS[0], plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  const named = (name) => [...new Set(RUNS.map((run) => run[name]).filter((text) => text !== "unknown"))].join(", ");
  const unfinished = RUNS.filter((run) => !run.complete).length;
  const told = ["dataset_title", "model", "composite"].map(named).filter((text) => !meta.title.includes(text));
  $("subtitle").textContent = [...told, plural(meta.samples.length, "sample"),
    plural(timeline.length, "step"), unfinished ? "unfinished" : "", `95 % of a sample’s maps are shown within an error of ${percent(meta.bound)}`].filter(Boolean).join(" · ");
  const said = [];
  const [rank, whole] = [(s) => s.rank > 0, (s) => s.rank === 0];
  if (meta.samples.length < meta.all_samples) said.push(`Shown are ${meta.samples.length} of ${meta.all_samples} samples whose maps all recordings have, the flagged ones first and then in the order of the recording: as many as asked for, or as fit into the page.`);
  if (meta.averaged > 1) said.push(`${meta.recorded.join(" × ")} ${meta.unit}s were too many for the page: ${meta.averaged} × ${meta.averaged} of them are averaged into one, in maps and accumulated dynamics.`);
  if (meta.slice) said.push(`Of maps of volumes one slice is shown${meta.slice}.`);
  if (unfinished) said.push("A recording that is not finished is shown as far as it was when the page was made.");
  said.push(`Every recorded step is here. The maps of a sample are combinations of a few patterns, as many as it takes for the error of 95 % of its steps to stay within ${percent(meta.bound)} (L2 norm of the difference, relative to that of the map). Maps of which that needs more room than they take are stored one by one. Norms of maps and the accumulated dynamics of the whole recording are exact (float32); those up to a step are added up from the maps on this page, each step scaled to its recorded divergence. What is left out of a map weighs more in the small change from one step to the next: that error is given, too; step divergence and all other curves are of the unabridged maps, with three digits or more.`);
  said.push(`Red speaks for what is explained, blue against it, white is zero${meta.under ? ", and lets the image show through where the overlay is not full" : ""}; “of each step” sets the strongest colour to the largest |relevance| of each map, “of the whole run” to that which ${meta.range} % of the sample’s steps stay below. Relevance is in ${[...new Set(RUNS.map((run) => run.amount))].join(" or ")}${RUNS.some((run) => run.tells_output) ? ", summed over channels" : ", as it was imported"}.`);
  const table = element("table"), head = element("tr");
  for (const name of ["recording", "steps", "patterns (median)", "samples stored one by one", "error of 95 % of steps, median sample", "the same, worst sample", "worst single map", "error of the change (median)"]) head.append(element("th", "", name));
  const top = element("thead"), body = element("tbody");
  top.append(head);
  table.append(top, body);
  const median = (values) => { const v = [...values].sort((a, b) => a - b); return v.length ? v[v.length >> 1] : null; };
  for (const run of RUNS) {
    const found = run.scores.filter((score) => score.rank !== undefined), line = element("tr");
    const share = (value) => (value === null || !Number.isFinite(value) ? "–" : percent(value));
    const of = (name) => found.map((score) => score[name]);
    const cells = [run.name, run.steps, median(found.filter(rank).map((s) => s.rank)) ?? "–", found.filter(whole).length, share(median(of("error_95"))),
      share(Math.max(...of("error_95"))), share(Math.max(...of("error_worst"))), share(median(of("change_error")))];
    cells.forEach((text, i) => line.append(element(i ? "td" : "th", "", String(text))));
    body.append(line);
  }
  const scroll = element("div", "scroll");
  scroll.append(table);
  $("about").replaceChildren(...said.map((text) => element("p", "", text)), scroll,
    element("p", "", `Made with LRP Dynamics ${meta.version}. Curves are drawn by uPlot (MIT licence, © Leon Sorokin).`));
}

async function begin() {
  if (!window.DecompressionStream) throw new Error("This browser is too old: it needs Chrome 80, Safari 16.4, Firefox 113 or later.");
  imageBytes = (await unpack("images")).images;
  for (const run of RUNS.keys()) losses[run] = await unpack(`run-${run}`);
  key("key-signed", SIGNED);
  key("key-amount", AMOUNT);
  buildControls();
  recall(location.hash);
  showControls();
  describe();
  buildGrid();
  buildHistogram();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches);
  dark.addEventListener("change", () => setTheme(dark.matches));
  draw("list", "focus", "step");
  document.documentElement.dataset.ready = "1";
}

begin().catch((error) => {
  $("trouble").hidden = false;
  $("trouble").textContent = String(error.message ?? error);
  throw error;
});
