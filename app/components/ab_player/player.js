// Wiring of one player: value → tracks, keys and buttons → engine, engine → what is seen and spoken.

const find = (selector) => element.querySelector(selector);
const root = find('.player');
const canvas = find('.wave');
const playButton = find('.play');
const loopButton = find('.loop');
const matchButton = find('.match');
const gone = new AbortController(); // ends every listener outside this element
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
const decoded = new Map(); // url → Promise of an AudioBuffer, kept while the url is in use
let tracks = [];
let shown = null; // the value on show, as text; null: it has to be loaded (again)
let previous = 1;
let drawnMs = 0;

const engine = new Engine(() => refresh());
const wave = new Waveform(canvas, {
  onSeek: (seconds) => { engine.seek(seconds); refresh(); },
  onRegion: (region) => setRegion(region),
});

function clock(seconds) {
  return seconds.toFixed(2);
}

function say(text) {
  find('.spoken').textContent = text;
}

function notice(text, canRetry = false) {
  find('.notice-text').textContent = text;
  if (canRetry) say(text);
  find('.retry').hidden = !canRetry;
}

function setState(state) {
  root.dataset.state = state;
  root.dataset.ready = String(state === 'playing' || state === 'paused');
  playButton.disabled = root.dataset.ready === 'false';
}

function loudestPeak() {
  return Math.max(...engine.tracks.map((track) => track.loudest), 0);
}

function refresh() {
  const {position, duration, playing, region} = engine;
  if (root.dataset.ready === 'true') setState(playing ? 'playing' : 'paused');
  Object.assign(root.dataset, {
    track: engine.current, position: position.toFixed(3), duration: duration.toFixed(3),
    loop: engine.looping ? 'on' : 'off', match: engine.matched ? 'on' : 'off',
    region: region ? region.map((edge) => edge.toFixed(3)).join(',') : '',
  });
  playButton.setAttribute('aria-label', playing ? 'Pause' : 'Play');
  loopButton.setAttribute('aria-pressed', String(engine.looping));
  matchButton.setAttribute('aria-pressed', String(engine.matched));
  find('.region').textContent = region ? ` ${clock(region[0])}–${clock(region[1])} s` : '';
  find('.time').textContent = `${clock(position)} / ${clock(duration)} s`;
  canvas.setAttribute('aria-valuemax', clock(duration));
  canvas.setAttribute('aria-valuenow', clock(position));
  canvas.setAttribute('aria-valuetext', `${position.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  showTracks();
  draw();
}

function draw() {
  if (wave.drag) return;
  const buffer = engine.tracks[engine.current]?.buffer;
  const {position, duration, region, looping} = engine;
  wave.draw({buffer, duration, position, region, looping, loudest: loudestPeak()});
}

function showTracks() {
  [...find('.tracks').children].forEach((button, index) => {
    const chosen = index === engine.current;
    button.setAttribute('aria-checked', String(chosen));
    button.tabIndex = chosen ? 0 : -1;
    button.querySelector('.gain').hidden = !engine.matched;
  });
  const colour = tracks[engine.current]?.colour;
  if (colour) root.style.setProperty('--track', colour);
  else root.style.setProperty('--track', `var(--track-${engine.current + 1})`);
}

function trackButton(track, index) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'version';
  button.setAttribute('role', 'radio');
  button.style.setProperty('--own', track.colour || `var(--track-${index + 1})`);
  const [key, label, gain] = ['number', 'label', 'gain'].map((name) => {
    const part = document.createElement('span');
    part.className = name;
    button.append(part);
    return part;
  });
  key.textContent = String(index + 1);
  label.textContent = track.label;
  const sign = track.gain_db < 0 ? '−' : '+';
  gain.textContent = track.gain_db ? `${sign}${Math.abs(track.gain_db).toFixed(1)} dB` : '';
  button.addEventListener('click', () => select(index));
  return button;
}

function select(index) {
  if (index < 0 || index >= engine.tracks.length) return;
  if (index !== engine.current) {
    previous = engine.current;
    engine.select(index);
    say(`Now: ${tracks[index].label}`);
    trigger('switched', {index});
  }
  refresh();
  if (document.activeElement?.matches('.version')) find('.tracks').children[index].focus();
}

async function togglePlay() {
  if (root.dataset.ready !== 'true') return;
  if (engine.playing) {
    engine.pause();
    return;
  }
  await engine.play();
  refresh();
  trigger('played', {index: engine.current});
  requestAnimationFrame(tick);
}

function setRegion(region) {
  engine.restart(() => {
    engine.region = region;
    if (region) engine.looping = true;
  });
  if (region && !engine.playing) engine.seek(region[0]);
  say(region ? `Loop from ${clock(region[0])} to ${clock(region[1])} seconds` : 'Loop region cleared');
  refresh();
}

function setEdge(edge) {
  const [start, end] = engine.span;
  const region = edge === 'in' ? [engine.position, end] : [start, engine.position];
  // An edge beyond the other one starts a fresh region.
  if (region[1] - region[0] >= MIN_REGION_S) setRegion(region);
  else setRegion(edge === 'in' ? [engine.position, engine.duration] : [0, engine.position]);
}

function toggleLoop() {
  engine.restart(() => { engine.looping = !engine.looping; });
  say(engine.looping ? 'Loop on' : 'Loop off');
  refresh();
}

function toggleMatch() {
  engine.setMatched(!engine.matched);
  say(engine.matched ? 'Loudness matched' : 'Loudness as it is');
  refresh();
}

function moveBy(direction, event) {
  if (event.shiftKey) engine.seek(engine.position + direction);
  else if (event.target === canvas) engine.seek(engine.position + direction * 0.1);
  else select((engine.current + direction + engine.tracks.length) % engine.tracks.length);
  refresh();
}

const KEYS = {
  ' ': togglePlay, l: toggleLoop, m: toggleMatch,
  i: () => setEdge('in'), o: () => setEdge('out'), x: () => select(previous),
  escape: () => setRegion(null), home: () => { engine.seek(engine.span[0]); refresh(); },
  arrowleft: (event) => moveBy(-1, event), arrowright: (event) => moveBy(1, event),
  arrowup: (event) => moveBy(-1, event), arrowdown: (event) => moveBy(1, event),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || root.dataset.ready !== 'true') return;
  // A focused push button answers the space bar itself.
  if (event.key === ' ' && event.target.matches('.play, .toggle, .retry')) return;
  if (/^[1-5]$/.test(event.key)) select(Number(event.key) - 1);
  else if (KEYS[event.key.toLowerCase()]) KEYS[event.key.toLowerCase()](event);
  else return;
  event.preventDefault();
}

function tick(nowMs) {
  if (gone.signal.aborted || !engine.playing) return;
  if (!element.isConnected || !element.offsetParent) {
    engine.pause(); // removed, or on a tab that is no longer shown
    return;
  }
  if (!calm.matches || nowMs - drawnMs > 250) {
    drawnMs = nowMs;
    refresh();
  }
  requestAnimationFrame(tick);
}

function loadBuffer(url) {
  if (!decoded.has(url)) {
    const loading = decodeClip(url, gone.signal);
    loading.catch(() => decoded.delete(url));
    decoded.set(url, loading);
  }
  return decoded.get(url);
}

async function load() {
  const value = props.value || {};
  const wanted = value.tracks || [];
  const text = JSON.stringify(value);
  // A player on a hidden tab loads when it is first seen.
  if (text === shown || !element.offsetParent) return;
  shown = text;
  const sameSound = tracks.length && wanted.length && tracks[0].url === wanted[0].url;
  if (!sameSound) {
    engine.setTracks([]);
    Object.assign(engine, {offset: 0, region: null, current: 0});
  }
  tracks = wanted;
  find('.caption').textContent = value.caption || '';
  const focused = document.activeElement?.matches('.version') && root.contains(document.activeElement);
  find('.tracks').replaceChildren(...tracks.map(trackButton));
  find('.last').textContent = String(Math.max(2, tracks.length));
  for (const url of decoded.keys()) if (!tracks.some((track) => track.url === url)) decoded.delete(url);
  if (!sameSound) setState(tracks.length ? 'loading' : 'empty');
  notice(tracks.length ? (sameSound ? '' : 'Loading…') : 'The versions of a sound appear here.');
  refresh();
  if (focused) find('.tracks').children[engine.current]?.focus();
  await finishLoading(text);
}

async function finishLoading(text) {
  const outcomes = await Promise.allSettled(tracks.map((track) => loadBuffer(track.url)));
  if (text !== shown || gone.signal.aborted || !tracks.length) return;
  const failed = outcomes.findIndex((outcome) => outcome.status === 'rejected');
  if (failed >= 0) {
    engine.setTracks([]);
    setState('error');
    const reason = outcomes[failed].reason.message;
    notice(`“${tracks[failed].label}” could not be loaded: ${reason}.`, true);
    refresh();
    return;
  }
  engine.setTracks(outcomes.map(({value: buffer}, index) => ({
    buffer, gainDb: tracks[index].gain_db, loudest: Math.max(...envelope(buffer, 64)),
  })));
  notice('');
  setState(engine.playing ? 'playing' : 'paused');
  refresh();
}

function reload() {
  shown = null;
  load();
}

function leave() {
  engine.pause();
  gone.abort();
  sizes.disconnect();
  themes.disconnect();
}

playButton.addEventListener('click', togglePlay);
loopButton.addEventListener('click', toggleLoop);
matchButton.addEventListener('click', toggleMatch);
find('.retry').addEventListener('click', reload);
root.addEventListener('keydown', onKey);
// Firefox clicks a focused button when the space bar is released.
root.addEventListener('keyup', (event) => {
  if (event.key === ' ' && event.target.matches('.version')) event.preventDefault();
});
root.addEventListener('click', () => {
  // Keys work after any click in the player, also where clicking a button does not focus it (Safari).
  if (!root.contains(document.activeElement)) root.focus({preventScroll: true});
});
document.addEventListener('visibilitychange', () => document.hidden && engine.pause(), {signal: gone.signal});
// Gradio tells nobody that an element leaves; its size falls to nothing then, and when a tab hides it.
const sizes = new ResizeObserver(() => {
  if (!element.isConnected) leave();
  else if (element.offsetParent) load().then(draw);
});
sizes.observe(root);
const themes = new MutationObserver(draw);
themes.observe(document.body, {attributes: true, attributeFilter: ['class']});
watch('value', load);
load();
