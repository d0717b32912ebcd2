const find = (selector) => element.querySelector(selector);
const root = find('.job-bar');
const stopButton = find('.stop');
const bar = find('.track');
const TITLES = {
  queued: 'Waiting', running: 'Running', stopping: 'Stopping after this step…',
  done: 'Done', failed: 'Failed', cancelled: 'Stopped',
};
let job = {state: 'idle'};
let receivedMs = 0;
let timer = 0;

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor(whole / 60) % 60).padStart(2, '0')} min`;
}

function isBusy() {
  return job.state === 'running' || job.state === 'stopping';
}

function showTimes() {
  if (!element.isConnected) {
    clearInterval(timer);
    return;
  }
  const sinceMs = isBusy() ? performance.now() - receivedMs : 0;
  const parts = [];
  if (job.elapsed_s != null) parts.push(`${duration(job.elapsed_s + sinceMs / 1000)} elapsed`);
  if (job.eta_s != null && job.state === 'running') {
    const left = job.eta_s - sinceMs / 1000;
    if (left >= 1) parts.push(`about ${duration(left)} left in this stage`);
  }
  find('.times').textContent = parts.join(' · ');
}

function showProgress() {
  const known = job.total > 0;
  const share = known ? Math.min(1, job.done / job.total) : 0;
  find('.count').textContent = known ? `${job.done} / ${job.total}` : '';
  find('.fill').style.transform = `scaleX(${job.state === 'done' ? 1 : share})`;
  bar.hidden = job.state === 'queued';
  if (known || job.state === 'done') {
    bar.setAttribute('aria-valuenow', String(job.state === 'done' ? 100 : Math.round(100 * share)));
  } else {
    bar.removeAttribute('aria-valuenow');
  }
}

function announce(text) {
  // Stages and endings are spoken, single steps are not: a screen reader could do nothing else.
  const spoken = find('.spoken');
  if (spoken.textContent !== text) spoken.textContent = text;
}

function show() {
  job = {state: 'idle', ...(props.value || {})};
  receivedMs = performance.now();
  root.dataset.state = job.state;
  root.hidden = job.state === 'idle';
  const title = TITLES[job.state] || '';
  const stage = job.state === 'running' && job.stage ? job.stage : title;
  find('.stage').textContent = stage;
  find('.message').textContent = job.message || '';
  stopButton.hidden = !(isBusy() || job.state === 'queued');
  stopButton.disabled = job.state === 'stopping';
  stopButton.textContent = job.state === 'queued' ? 'Leave the queue' : 'Stop';
  showProgress();
  showTimes();
  announce(isBusy() ? stage : `${title}. ${job.message || ''}`);
  clearInterval(timer);
  if (isBusy()) timer = setInterval(showTimes, 1000);
}

stopButton.addEventListener('click', () => {
  stopButton.disabled = true;
  if (isBusy()) {
    job.state = root.dataset.state = 'stopping';
    find('.stage').textContent = TITLES.stopping;
    announce(TITLES.stopping);
    showTimes();
  }
  trigger('stop');
});
watch('value', show);
show();
