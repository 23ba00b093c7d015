// Numbers as colours.
const colors = Object.fromEntries(Object.entries(meta.colors).map(([name, digits]) => {
  const table = new Uint32Array(256), bytes = new Uint8Array(table.buffer);
  for (let i = 0; i < 256; i++) {
    for (let c = 0; c < 3; c++) bytes[4 * i + c] = parseInt(digits.slice(6 * i + 2 * c, 6 * i + 2 * c + 2), 16);
    bytes[4 * i + 3] = 255;
  }
  return [name, table];
}));
const SIGNED = colors[meta.signed], AMOUNT = colors[meta.amount];

class Picture {
  constructor(height, width) {
    this.canvas = document.createElement("canvas");
    this.canvas.width = width;
    this.canvas.height = height;
    this.context = this.canvas.getContext("2d");
    this.data = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.data.data.buffer);
  }
  show() { this.context.putImageData(this.data, 0, 0); }
  // Zero is the middle of the colours.
  signed(values, largest) {
    const unit = largest > 0 ? 127.5 / largest : 0, pixels = this.pixels;
    for (let i = 0; i < pixels.length; i++) {
      const at = 127.5 + values[i] * unit;
      pixels[i] = SIGNED[at < 0 ? 0 : at > 255 ? 255 : (at + 0.5) | 0];
    }
    this.show();
  }
  amount(values, largest) {
    const unit = largest > 0 ? 255 / largest : 0, pixels = this.pixels;
    for (let i = 0; i < pixels.length; i++) pixels[i] = AMOUNT[Math.min(255, Math.max(0, Math.round(values[i] * unit)))];
    this.show();
  }
  empty() { this.pixels.fill(0); this.show(); }
  image(bytes, start, channels, grey) {
    const size = this.pixels.length, data = this.data.data;
    for (let i = 0; i < size; i++) {
      const own = [0, 1, 2].map((c) => bytes[start + (channels === 3 ? c * size : 0) + i]);
      const mean = 0.3 * own[0] + 0.59 * own[1] + 0.11 * own[2];
      for (let c = 0; c < 3; c++) data[4 * i + c] = grey ? mean : own[c];
      data[4 * i + 3] = 255;
    }
    this.show();
  }
}

let imageBytes = null;
function imageOf(sample, grey) {
  const [channels, height, width] = meta.image;
  const picture = new Picture(height, width);
  if (meta.pictured) picture.image(imageBytes, sample * channels * height * width, channels, grey);
  return picture;
}

function largestOf(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) { const v = Math.abs(values[i]); if (v > most) most = v; }
  return most;
}

// Canvases upon each other, of the samples' proportions; those of signals are not lines, but strips.
function stack(...pictures) {
  const made = element("div", "stack");
  const [height, width] = meta.frame;
  made.style.aspectRatio = `${Math.min(width / height, 4)}`;
  made.append(...pictures.map((picture) => picture.canvas));
  return made;
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function key(id, table) {
  const context = $(id).getContext("2d"), data = context.createImageData(256, 1);
  new Uint32Array(data.data.buffer).set(table);
  context.putImageData(data, 0, 0);
}

// Three digits, and no more.
function digits(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? value.toExponential(1)
    : size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
  return text.replace("-", "−");
}
const percent = (share) => `${Number((100 * share).toPrecision(2))} %`;
