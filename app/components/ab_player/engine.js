// Audio of one player. All players of a page share one AudioContext, and one of them sounds at a time.

const RATE_HZ = 48000; // decoding and playing at one fixed rate: every clip takes the same resampler
const FADE_S = 0.01;
const LEAD_S = 0.03; // sources are scheduled this far ahead, so that none of them starts late
const shared = (window.ptq4admAudio ??= {context: null, sounding: null});

function glide(gain, level) {
  const now = shared.context.currentTime;
  gain.cancelScheduledValues(now);
  gain.setValueAtTime(gain.value, now);
  gain.linearRampToValueAtTime(level, now + FADE_S);
}

const toGain = (decibels) => 10 ** (decibels / 20);

async function runningContext() {
  if (!shared.context || shared.context.state === 'closed') {
    shared.context = new AudioContext({sampleRate: RATE_HZ, latencyHint: 'interactive'});
  }
  await shared.context.resume();
}

async function decodeClip(url, signal) {
  // Gradio may be served below a path; its root is where clip addresses start.
  const root = (window.gradio_config?.root || window.location.origin).replace(/[/]$/, '');
  const response = await fetch(url.startsWith(root) ? url : root + url, {signal});
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  // An offline context decodes without waiting for a gesture of the listener.
  const decoder = new OfflineAudioContext(1, 1, RATE_HZ);
  return decoder.decodeAudioData(await response.arrayBuffer());
}

class Engine {
  constructor(onStop) {
    this.onStop = onStop;
    this.tracks = []; // {buffer, gainDb}
    this.sources = [];
    this.gains = [];
    this.current = 0;
    this.playing = false;
    this.matched = true;
    this.looping = true;
    this.region = null; // [start, end] in seconds
    this.offset = 0; // seconds, of the moment `startedAt`
    this.startedAt = 0;
    this.attempt = 0;
  }

  get duration() {
    return this.tracks.length ? Math.min(...this.tracks.map((track) => track.buffer.duration)) : 0;
  }

  get span() {
    return this.region ?? [0, this.duration];
  }

  get position() {
    if (!this.playing) return Math.min(this.offset, this.duration);
    const [start, end] = this.span;
    const time = this.offset + Math.max(0, shared.context.currentTime - this.startedAt);
    if (this.looping && time >= end) return start + ((time - start) % (end - start));
    return Math.min(time, this.duration);
  }

  setTracks(tracks) {
    if (!tracks.length) this.pause();
    this.restart(() => {
      this.tracks = tracks;
      this.current = Math.min(this.current, Math.max(0, tracks.length - 1));
      if (this.region && this.region[1] > this.duration) this.region = null;
    });
  }

  level(index) {
    if (index !== this.current) return 0;
    return this.matched ? toGain(this.tracks[index].gainDb) : 1;
  }

  // The versions are nearly the same signal, so their gains (not their powers) add up to one during
  // a fade: equal power would lift every switch by up to 3 dB, which the ear takes for a difference.
  fade() {
    if (!this.playing) return;
    this.gains.forEach(({gain}, index) => glide(gain, this.level(index)));
  }

  select(index) {
    this.current = index;
    this.fade();
  }

  setMatched(matched) {
    this.matched = matched;
    this.fade();
  }

  async play() {
    const attempt = ++this.attempt;
    if (shared.sounding !== this) shared.sounding?.pause();
    shared.sounding = this;
    await runningContext();
    if (attempt === this.attempt && this.tracks.length) this.#start();
  }

  pause() {
    this.attempt += 1;
    if (shared.sounding === this) {
      shared.sounding = null;
      setTimeout(() => shared.sounding || shared.context?.suspend(), 4 * FADE_S * 1000);
    }
    if (!this.playing) return;
    this.offset = this.position;
    this.#silence();
    this.onStop();
  }

  seek(seconds) {
    const resume = this.playing;
    if (resume) this.#silence();
    this.offset = Math.max(0, Math.min(this.duration, seconds));
    if (resume) this.#start();
  }

  // Anything that changes where the sources loop needs new sources.
  restart(change) {
    const at = this.position;
    change();
    this.seek(at);
  }

  #start() {
    const [start, end] = this.span;
    const outside = this.offset < start || this.offset >= end;
    if (this.looping && outside) this.offset = start;
    if (!this.looping && this.offset >= this.duration - FADE_S) this.offset = 0;
    this.attempt += 1;
    this.startedAt = shared.context.currentTime + LEAD_S;
    this.gains = this.tracks.map((_, index) => this.#gain(index));
    this.sources = this.tracks.map(({buffer}, index) => this.#source(buffer, index));
    this.playing = true;
    const attempt = this.attempt;
    if (!this.looping) this.sources[0].onended = () => this.#finish(attempt);
  }

  #silence() {
    const now = shared.context.currentTime;
    this.playing = false;
    for (const {gain} of this.gains) glide(gain, 0);
    for (const source of this.sources) {
      source.onended = null;
      source.stop(now + FADE_S);
    }
    this.sources = [];
    this.gains = [];
  }

  #gain(index) {
    const node = shared.context.createGain();
    node.gain.setValueAtTime(0, shared.context.currentTime);
    node.gain.setValueAtTime(0, this.startedAt);
    node.gain.linearRampToValueAtTime(this.level(index), this.startedAt + FADE_S);
    node.connect(shared.context.destination);
    return node;
  }

  #source(buffer, index) {
    const source = shared.context.createBufferSource();
    const [start, end] = this.span;
    Object.assign(source, {buffer, loop: this.looping, loopStart: start, loopEnd: end});
    source.connect(this.gains[index]);
    // Unequal clips end together: the shortest one decides, in the loop as well as at the end.
    if (this.looping) source.start(this.startedAt, this.offset);
    else source.start(this.startedAt, this.offset, this.duration - this.offset);
    return source;
  }

  #finish(attempt) {
    if (attempt !== this.attempt) return;
    this.pause();
    this.offset = 0;
    this.onStop();
  }
}
