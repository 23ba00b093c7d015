// Dynamics accumulated up to a step: |changes| of the maps that this page holds, each step scaled to add its recorded
// share. Of the whole recording they are the recorded ones.
const APART = 64; // steps between the sums that are kept
const drawn = new Float32Array(PIXELS);

function totalOf(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > 0) sum += values[i];
  return sum;
}

function walkOf(data, steps) {
  const first = new Float32Array(PIXELS), told = totalOf(data.step_divergence);
  frame(data, 0, steps, first);
  return { step: 0, last: first, sum: new Float32Array(PIXELS), kept: [new Float32Array(PIXELS)],
    unit: told > 0 ? totalOf(data.dynamics) / told : 0 };
}

// The sum up to a step; null if that is further than `most` steps away, towards which this goes as many.
function accumulated(data, step, steps, most) {
  if (step === steps - 1) return data.dynamics;
  const walk = (data.walk ??= walkOf(data, steps));
  let near = Math.floor(step / APART);
  while (!walk.kept[near]) near--;
  if (walk.step > step || walk.step < near * APART) {
    walk.step = near * APART;
    walk.sum.set(walk.kept[near]);
    frame(data, walk.step, steps, walk.last);
  }
  for (; walk.step < step && most > 0; most--) {
    frame(data, ++walk.step, steps, drawn);
    let change = 0;
    for (let p = 0; p < PIXELS; p++) change += Math.abs(drawn[p] - walk.last[p]);
    const scale = change > 0 ? (walk.unit * (data.step_divergence[walk.step] || 0)) / change : 0;
    for (let p = 0; p < PIXELS; p++) walk.sum[p] += scale * Math.abs(drawn[p] - walk.last[p]);
    walk.last.set(drawn);
    if (walk.step % APART === 0) walk.kept[walk.step / APART] ??= walk.sum.slice();
  }
  return walk.step === step ? walk.sum : null;
}
