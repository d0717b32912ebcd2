// Wiring of the grid: value → rows, filter and order; a choice → one event.

const LONGEST_ANSWER_MS = 5000;
const find = (selector) => element.querySelector(selector);
const root = find('.layer-grid');
const body = find('.body');
const filter = find('.filter');
const kind = find('.kind');
const apply = find('.apply');
const bulk = {weight_bits: find('.bulk-weights'), activation_bits: find('.bulk-activations')};
let entries = []; // {row, node}, in the order of the network
let signature = ''; // of what decides the build of rows: their names, kinds and options
const edits = []; // made while an answer is on its way: it redraws the rows, and they follow it
let waiting = 0; // a timer, in case no answer comes
let sorting = {key: '', direction: 1};

function fillChoices(select, first, values, label) {
  const chosen = select.value;
  select.replaceChildren(new Option(first, ''), ...values.map((value) => new Option(label(value), String(value))));
  if ([...select.options].some((option) => option.value === chosen)) select.value = chosen;
}

function build(value) {
  const template = rowTemplate(value.options);
  entries = value.rows.map((row) => ({row, node: template.cloneNode(true)}));
  entries.forEach((entry, index) => { entry.node.dataset.index = String(index); });
  fillChoices(kind, 'All kinds', [...new Set(value.rows.map((row) => row.kind))].sort(), String);
  for (const [key, select] of Object.entries(bulk)) {
    fillChoices(select, 'leave as is', value.options[key] || [], bitsLabel);
  }
}

function show() {
  const value = {rows: [], options: {weight_bits: [], activation_bits: []}, ...(props.value || {})};
  const wanted = JSON.stringify([value.rows.map((row) => [row.name, row.kind]), value.options]);
  const rebuilt = wanted !== signature;
  if (rebuilt) build(value);
  signature = wanted;
  const most = Math.max(0, ...value.rows.map((row) => row.sensitivity ?? 0));
  entries.forEach((entry, index) => {
    entry.row = value.rows[index];
    fillRow(entry.node, entry.row, most);
  });
  root.classList.toggle('rated', value.rows.some((row) => row.sensitivity != null));
  if (rebuilt || sorting.key) order();
  narrow();
  Object.assign(root.dataset, {ready: 'true', revision: value.revision ?? 0});
  if (waiting) setTimeout(sendNext, 0); // after Gradio has ended the event that this answers
}

function order() {
  const {key, direction} = sorting;
  const sorted = [...entries];
  if (key === 'name' || key === 'kind') {
    sorted.sort((a, b) => direction * a.row[key].localeCompare(b.row[key], 'en', {numeric: true}));
  } else if (key) {
    sorted.sort((a, b) => direction * ((a.row[key] ?? -1) - (b.row[key] ?? -1)));
  }
  const focused = document.activeElement;
  body.replaceChildren(...sorted.map((entry) => entry.node));
  if (body.contains(focused)) focused.focus({preventScroll: true});
}

function shownEntries() {
  return entries.filter((entry) => !entry.node.hidden);
}

function narrow() {
  const wanted = globToRegExp(toPattern(filter.value.trim()));
  for (const {row, node} of entries) {
    node.hidden = !wanted.test(row.name) || (kind.value !== '' && row.kind !== kind.value);
  }
  const shown = shownEntries();
  const bytes = shown.reduce((sum, {row}) => sum + row.bytes, 0);
  const all = shown.length === entries.length;
  const layers = entries.length === 1 ? 'layer' : 'layers';
  find('.summary').textContent = `${all ? 'All' : `${shown.length} of`} ${entries.length} ${layers} · ${sizeLabel(bytes)}`;
  find('.empty').hidden = shown.length > 0;
  apply.textContent = all ? 'Set all rows' : `Set ${shown.length} filtered ${shown.length === 1 ? 'row' : 'rows'}`;
  Object.assign(root.dataset, {shown: shown.length, total: entries.length});
  allowApply();
  rove(body.querySelector('.row:not([hidden]) select[tabindex="0"]') ? null : shownInOrder()[0]);
}

function shownInOrder() {
  return [...body.children].filter((node) => !node.hidden);
}

// One row is in the tab order; Shift with the arrows moves to another. 400 rows would be 800 stops.
function rove(row) {
  if (row === null) return;
  for (const select of body.querySelectorAll('select')) select.tabIndex = -1;
  for (const select of row?.querySelectorAll('select') ?? []) select.tabIndex = 0;
}

function allowApply() {
  apply.disabled = !shownEntries().length || Object.values(bulk).every((select) => select.value === '');
}

function chosenBits(select) {
  return select.value === '' ? null : Number(select.value);
}

function emit(edit) {
  edits.push({pattern: null, names: null, weight_bits: null, activation_bits: null, ...edit});
  if (!waiting) sendNext();
}

function sendNext() {
  clearTimeout(waiting);
  waiting = 0;
  if (!edits.length) return;
  waiting = setTimeout(undo, LONGEST_ANSWER_MS);
  trigger('edited', edits.shift());
}

// No answer came: rules with an error draw no rows, and a choice that was refused must not stay.
function undo() {
  waiting = 0;
  show();
  sendNext();
}

function applyToShown() {
  // A pattern makes a rule that reads well; a kind cannot be said in a pattern, so names say it.
  const where = kind.value === ''
    ? {pattern: toPattern(filter.value.trim())}
    : {names: shownEntries().map(({row}) => row.name)};
  emit({...where, weight_bits: chosenBits(bulk.weight_bits), activation_bits: chosenBits(bulk.activation_bits)});
}

function onSort(event) {
  const {key} = event.currentTarget.dataset;
  const first = key === 'bytes' || key === 'sensitivity' ? -1 : 1;
  if (sorting.key !== key) sorting = {key, direction: first};
  else if (sorting.direction === first) sorting = {key, direction: -first};
  else sorting = {key: '', direction: 1}; // a third click gives the order of the network back
  for (const button of root.querySelectorAll('.sort')) {
    const state = button.dataset.key !== sorting.key ? 'none' : sorting.direction > 0 ? 'ascending' : 'descending';
    button.parentElement.setAttribute('aria-sort', state);
  }
  order();
}

function moveFocus(select, step) {
  const rows = shownInOrder();
  const target = rows[rows.indexOf(select.closest('.row')) + step];
  if (!target) return;
  rove(target);
  target.querySelector(`select[name="${select.name}"]`).focus();
}

function onBodyKey(event) {
  if (!event.target.matches('select')) return;
  if (event.shiftKey && event.key === 'ArrowDown') moveFocus(event.target, 1);
  else if (event.shiftKey && event.key === 'ArrowUp') moveFocus(event.target, -1);
  else if (event.key === 'Escape') filter.focus();
  else return;
  event.preventDefault();
}

body.addEventListener('change', (event) => {
  const {row} = entries[Number(event.target.closest('.row').dataset.index)];
  emit({names: [row.name], [event.target.name]: chosenBits(event.target)});
});
body.addEventListener('keydown', onBodyKey);
body.addEventListener('focusin', (event) => rove(event.target.closest('.row')));
filter.addEventListener('input', narrow);
filter.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  shownInOrder()[0]?.querySelector('select').focus();
});
kind.addEventListener('change', narrow);
for (const select of Object.values(bulk)) select.addEventListener('change', allowApply);
for (const button of root.querySelectorAll('.sort')) button.addEventListener('click', onSort);
apply.addEventListener('click', applyToShown);
watch('value', show);
show();
