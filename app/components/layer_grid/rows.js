// The rows of the grid: built once per value, then only hidden, shown and put in order.

const FLOAT_BITS = 32;
const bitsLabel = (bits) => (bits === FLOAT_BITS ? 'float' : `${bits} bit`);

function sizeLabel(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;
}

function bitsSelect(options) {
  const select = document.createElement('select');
  for (const bits of options) select.append(new Option(bitsLabel(bits), String(bits)));
  return select;
}

// A width that is not on offer (a plan made elsewhere may hold one) is shown, not lost.
function setBits(select, bits) {
  if (![...select.options].some((option) => option.value === String(bits))) {
    select.append(new Option(bitsLabel(bits), String(bits)));
  }
  select.value = String(bits);
  select.classList.toggle('float', bits === FLOAT_BITS);
}

function cell(className, role = 'cell') {
  const node = document.createElement('div');
  node.className = className;
  node.setAttribute('role', role);
  return node;
}

// One empty row; cloning it is several times faster than building 400 of them.
function rowTemplate(options) {
  const row = cell('row', 'row');
  const weights = cell('weights');
  const activations = cell('activations');
  weights.append(bitsSelect(options.weight_bits));
  activations.append(bitsSelect(options.activation_bits));
  row.append(cell('name', 'rowheader'), cell('type'), weights, activations, cell('bytes'), cell('sensitivity'));
  return row;
}

function fillRow(node, row, loudest) {
  const [name, type, weights, activations, bytes, sensitivity] = node.children;
  name.textContent = row.name;
  type.textContent = row.kind;
  for (const [holder, what, bits] of [[weights, 'weight', row.weight_bits], [activations, 'activation', row.activation_bits]]) {
    const select = holder.firstChild;
    setBits(select, bits);
    select.name = `${what}_bits`;
    select.setAttribute('aria-label', `${row.name}, ${what} bits`);
  }
  bytes.textContent = sizeLabel(row.bytes);
  if (row.sensitivity == null) return;
  sensitivity.textContent = row.sensitivity.toPrecision(2);
  sensitivity.style.setProperty('--share', String(loudest > 0 ? row.sensitivity / loudest : 0));
}

const GLOB = /[*?[]/;

// The same language as Python's fnmatch, which reads the pattern on the server: case matters there.
function globToRegExp(glob) {
  const source = glob.replace(/\[(!?)([^\]]+)\]|[*]|[?]|[^]/g, (token, not, set) => {
    if (set) return `[${not ? '^' : ''}${set.replace(/[\\^]/g, '\\$&')}]`;
    if (token === '*') return '.*';
    if (token === '?') return '.';
    return token.replace(/[.+^$(){}|[\]\\]/g, '\\$&');
  });
  try {
    return new RegExp(`^${source}$`, 's');
  } catch {
    return /(?!)/; // a range such as [z-a], which matches nothing in fnmatch
  }
}

// What is typed is a pattern as soon as it holds a wildcard, and else any part of a name.
function toPattern(text) {
  if (!text) return '*';
  return GLOB.test(text) ? text : `*${text}*`;
}
