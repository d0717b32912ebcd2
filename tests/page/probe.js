// Listens to what a page plays: every sound that reaches the speakers also reaches an analyser.
window.probe = {starts: [], contexts: 0, analyser: null};
const NativeContext = window.AudioContext;
window.AudioContext = class extends NativeContext {
  constructor(options) {
    super(options);
    window.probe.contexts += 1;
    window.probe.context = this;
    window.probe.analyser = new AnalyserNode(this, {fftSize: 4096, smoothingTimeConstant: 0});
  }
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target === window.probe.context?.destination) connect.call(this, window.probe.analyser);
  return connect.call(this, target, ...rest);
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  window.probe.starts.push(when);
  return start.apply(this, when);
};
window.probe.peak = () => {
  const wave = new Float32Array(1024);
  window.probe.analyser.getFloatTimeDomainData(wave);
  return wave.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
};
window.probe.frequency = () => {
  const bins = new Float32Array(window.probe.analyser.frequencyBinCount);
  window.probe.analyser.getFloatFrequencyData(bins);
  return (bins.indexOf(Math.max(...bins)) * window.probe.context.sampleRate) / 4096;
};
// The quietest and the loudest moment of the next milliseconds, while `action` happens at their
// beginning.
window.probe.range = async (action, milliseconds = 120) => {
  action();
  let most = 0;
  let least = 1;
  for (const end = performance.now() + milliseconds; performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 4));
    const peak = window.probe.peak();
    most = Math.max(most, peak);
    least = Math.min(least, peak);
  }
  return [least, most];
};
