// The picture of a track on a canvas: envelope, loop region, position. Dragging on it sets the loop.

const BAR_PX = 3; // two of colour, one of air
const MIN_REGION_S = 0.05;

function envelope(buffer, bars) {
  const channels = Array.from({length: buffer.numberOfChannels}, (_, c) => buffer.getChannelData(c));
  const step = buffer.length / bars;
  return Float32Array.from({length: bars}, (_, bar) => {
    let peak = 0;
    const end = Math.min(buffer.length, Math.floor((bar + 1) * step));
    for (const samples of channels) {
      for (let i = Math.floor(bar * step); i < end; i += 2) peak = Math.max(peak, Math.abs(samples[i]));
    }
    return peak;
  });
}

class Waveform {
  constructor(canvas, {onSeek, onRegion}) {
    this.canvas = canvas;
    this.pen = canvas.getContext('2d');
    this.envelopes = new WeakMap(); // buffer → {bars, peaks}
    this.view = null;
    this.drag = null;
    this.onSeek = onSeek;
    this.onRegion = onRegion;
    canvas.addEventListener('pointerdown', (event) => this.#begin(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    canvas.addEventListener('pointerup', (event) => this.#end(event));
    canvas.addEventListener('pointercancel', () => { this.drag = null; });
  }

  // view: {buffer, duration, position, region, looping, loudest}
  draw(view) {
    this.view = view;
    const {canvas, pen} = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (!view.buffer) return;
    const style = getComputedStyle(canvas);
    const ink = {rest: style.getPropertyValue('--wave-rest'), track: style.getPropertyValue('--wave-track')};
    this.#drawRegion(view, width, height, ink);
    this.#drawBars(view, width, height, ink);
    pen.fillStyle = style.color;
    const x = (view.position / view.duration) * width;
    pen.fillRect(Math.max(0, Math.min(width - 2, x - 1)), 0, 2, height);
  }

  #drawRegion({region, duration, looping}, width, height, ink) {
    if (!region) return;
    const [start, end] = region.map((seconds) => (seconds / duration) * width);
    this.pen.globalAlpha = looping ? 0.16 : 0.07;
    this.pen.fillStyle = ink.track;
    this.pen.fillRect(start, 0, end - start, height);
    this.pen.globalAlpha = looping ? 0.9 : 0.4;
    this.pen.fillRect(start, 0, 1.5, height);
    this.pen.fillRect(end - 1.5, 0, 1.5, height);
    this.pen.globalAlpha = 1;
  }

  #drawBars({buffer, duration, position, loudest}, width, height, ink) {
    const bars = Math.max(1, Math.floor(width / BAR_PX));
    const peaks = this.#peaks(buffer, bars);
    const played = (position / duration) * bars;
    const middle = height / 2;
    const scale = (height / 2 - 6) / Math.max(loudest, 1e-4);
    for (let bar = 0; bar < bars; bar += 1) {
      // All versions share one scale, so that a difference in level can be seen.
      const half = Math.max(0.75, Math.min(middle - 2, peaks[bar] * scale));
      this.pen.fillStyle = bar <= played ? ink.track : ink.rest;
      this.pen.fillRect(bar * BAR_PX, middle - half, BAR_PX - 1, 2 * half);
    }
  }

  #peaks(buffer, bars) {
    const known = this.envelopes.get(buffer);
    if (known?.bars === bars) return known.peaks;
    const peaks = envelope(buffer, bars);
    this.envelopes.set(buffer, {bars, peaks});
    return peaks;
  }

  #seconds(event) {
    const box = this.canvas.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    return Math.max(0, Math.min(1, share)) * this.view.duration;
  }

  #begin(event) {
    if (event.button !== 0 || !this.view?.buffer) return;
    this.drag = {from: this.#seconds(event), x: event.clientX, moved: false};
    this.canvas.setPointerCapture(event.pointerId);
  }

  #move(event) {
    if (!this.drag) return;
    this.drag.moved ||= Math.abs(event.clientX - this.drag.x) > 4;
    if (!this.drag.moved) return;
    this.draw({...this.view, region: this.#dragged(event)});
  }

  #end(event) {
    const drag = this.drag;
    if (!drag) return;
    const region = this.#dragged(event);
    this.drag = null;
    if (drag.moved && region[1] - region[0] >= MIN_REGION_S) this.onRegion(region);
    else this.onSeek(this.#seconds(event));
  }

  #dragged(event) {
    return [this.drag.from, this.#seconds(event)].sort((a, b) => a - b);
  }
}
