// Curves of the chosen samples along training, with one cursor for all.
const APART_TOO_FAR = 30; // between recordings, in amount, on a linear axis
const CHARTS = [
  { name: "Logit of the explained output", curves: [["logit", 2]] },
  { name: "Relevance", unit: `sum over ${meta.unit}s; thin: of absolute values`, curves: [["r_sum", 2], ["r_abs_sum", 1]] },
  { name: "Step divergence", unit: "log scale", curves: [["step_divergence", 1.3]], log: true },
  { name: "Training loss", unit: "of the batch", loss: true },
];
const losses = [];
let charts = [], legend = [], turn = 0;

// Values of a run at the timeline's places, null where it has none.
function along(run, values, log) {
  const own = stepOf[run];
  return timeline.map((now, i) => {
    const step = own[i];
    const value = step >= 0 && RUNS[run].iteration[step] === now ? values[step] : NaN;
    return Number.isFinite(value) && (!log || value > 0) ? value : null;
  });
}

async function drawCharts() {
  const mine = ++turn;
  const lines = state.samples.flatMap((sample) => state.runs.map((run) => ({ sample, run, ...look(sample, run) })));
  const data = await Promise.all(lines.map(({ sample, run }) => load(run, sample)));
  if (mine !== turn) return;
  charts.forEach(({ plot, watch }) => { watch.disconnect(); plot.destroy(); });
  const tables = CHARTS.map((chart) => {
    const series = [];
    if (chart.loss) {
      // Recordings of one training have the same.
      const texts = state.runs.map((run) => String(losses[run].train_loss));
      const different = state.runs.filter((_, i) => texts.indexOf(texts[i]) === i);
      for (const run of different) series.push([along(run, losses[run].train_loss), {
        ...(different.length > 1 && state.samples.length === 1 ? look(state.samples[0], run) : { color: isDark() ? "#b5b5b5" : "#57606a" }), width: 1.2 }]);
    } else {
      chart.curves.forEach(([curve, width]) => lines.forEach((line, i) => series.push([along(line.run, data[i][curve], chart.log), { ...line, width }])));
    }
    return series;
  });
  charts = CHARTS.map((chart, i) => ({ chart, series: tables[i], bend: chart.log || chart.loss ? 0 : bendOf(tables[i], lines.length) })).filter(({ chart, series }) => series.some(([values]) => values.some((v) => v !== null)));
  $("charts").replaceChildren(...charts.map(({ chart, bend }) => {
    const box = element("div", "chart"), title = element("h3", "", chart.name);
    for (const text of [chart.unit, bend ? `logarithmic beyond ±${digits(bend)}` : ""].filter(Boolean)) title.append(element("span", "", ` · ${text}`));
    box.append(title, element("div", "plot"));
    return box;
  }));
  charts = charts.map((made, i) => plotted(made, $("charts").children[i].lastChild));
  drawLegend(lines, data);
  moveCursor();
}

// Where lines are of amounts too far apart for one linear axis: the amount of the smallest, up to which it stays linear.
function bendOf(series, lines) {
  const sizes = Array(lines).fill(0);
  series.forEach(([values], i) => values.forEach((v) => { sizes[i % lines] = Math.max(sizes[i % lines], Math.abs(v ?? 0)); }));
  const known = sizes.filter((size) => size > 0), least = Math.min(...known);
  return known.length > 1 && Math.max(...known) > APART_TOO_FAR * least ? Number(least.toPrecision(1)) : 0;
}

function plotted({ chart, series, bend }, place) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--soft").trim(), line = style.getPropertyValue("--line").trim();
  const axis = { stroke: ink, grid: { stroke: line, width: 0.6 }, ticks: { stroke: line, width: 0.6, size: 4 }, font: "11px system-ui, sans-serif" };
  const log = chart.log && series.some(([values]) => values.some((v) => v !== null)), filter = powers(bend);
  const plot = new uPlot({
    width: Math.max(200, place.clientWidth), height: 150, legend: { show: false }, cursor: { show: false }, padding: [8, 18, 0, 0],
    scales: { x: { time: false }, y: log ? { distr: 3 } : bend ? { distr: 4, asinh: bend } : {} },
    axes: [{ ...axis, size: 28, label: undefined }, { ...axis, size: 58, ...(log || bend ? { filter, grid: { ...axis.grid, filter }, ticks: { ...axis.ticks, filter } } : {}), values: (_, ticks) => ticks.map((v) => (v === null ? "" : digits(v))) }],
    series: [{}, ...series.map(([, own]) => ({ stroke: own.color, dash: own.dash, width: own.width, spanGaps: true, points: { show: timeline.length < 2 } }))],
  }, [timeline, ...series.map(([values]) => values)], place);
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", `${chart.name} along training steps`);
  const now = element("div", "now");
  plot.over.append(now);
  let held = false;
  const follow = (event) => {
    const box = plot.over.getBoundingClientRect(), at = plot.posToVal(event.clientX - box.left, "x");
    goTo(nearest(at));
  };
  plot.over.addEventListener("pointerdown", (event) => { held = true; plot.over.setPointerCapture(event.pointerId); follow(event); });
  plot.over.addEventListener("pointermove", (event) => { if (held) follow(event); });
  for (const end of ["pointerup", "pointercancel"]) plot.over.addEventListener(end, () => { held = false; });
  const watch = new ResizeObserver(() => {
    const width = Math.max(200, place.clientWidth);
    if (width !== plot.width) { plot.setSize({ width, height: 150 }); moveCursor(); }
  });
  watch.observe(place);
  return { plot, now, watch };
}

// Of a logarithmic axis the powers of ten; of one that is linear up to `bend` those beyond it, and zero.
function powers(bend) {
  const isPower = (size) => size > bend && Math.abs(Math.log10(size) - Math.round(Math.log10(size))) < 1e-6;
  return (_, ticks) => ticks.map((v) => (v === 0 || isPower(Math.abs(v)) ? v : null));
}

function nearest(iteration) {
  let low = 0, high = LAST;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeline[middle] < iteration) low = middle + 1; else high = middle;
  }
  return low && iteration - timeline[low - 1] < timeline[low] - iteration ? low - 1 : low;
}

function moveCursor() {
  for (const { plot, now } of charts) now.style.transform = `translateX(${plot.valToPos(timeline[state.step], "x")}px)`;
  for (const { cells, data, run } of legend) {
    const step = stepOf[run][state.step];
    ["logit", "r_sum", "r_abs_sum", "step_divergence"].forEach((name, i) => { cells[i].textContent = step < 0 ? "–" : digits(data[name][step]); });
  }
}

function drawLegend(lines, data) {
  const table = element("table"), head = element("tr");
  const known = RUNS.some((run) => run.tells_output);
  for (const name of ["", ...(known ? ["logit"] : []), "Σ R", "Σ |R|", "step divergence"]) {
    const cell = element("th", "", name);
    cell.scope = "col";
    head.append(cell);
  }
  table.append(head);
  legend = lines.map(({ sample, run, color, dash }, i) => {
    const line = element("tr"), who = element("th"), mark = element("i");
    who.scope = "row";
    mark.style.borderColor = color;
    if (dash) mark.style.borderTopStyle = "dashed";
    const about = meta.samples[sample];
    const name = RUNS[run].scores[sample].name, place = `${about.split} ${about.index}`;
    who.append(mark, `${name}${name === `sample ${about.index}` ? "" : ` (${place})`}${RUNS.length > 1 ? ` · ${RUNS[run].name}` : ""}`);
    const cells = [0, 1, 2, 3].map(() => element("td"));
    line.append(who, ...cells.slice(known ? 0 : 1));
    table.append(line);
    return { cells, data: data[i], run };
  });
  $("legend").replaceChildren(table);
}
