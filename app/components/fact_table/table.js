const find = (selector) => element.querySelector(selector);
const root = find('.fact-table');
const FIGURE = /^[−+-]?[0-9.,]+( ?[^ ]{1,6})?$|^n\/a$|^–$/;

function cell(tag, text, scope) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (scope) node.scope = scope;
  return node;
}

function line(texts, figures, head) {
  const row = document.createElement('tr');
  texts.forEach((text, index) => {
    const node = head ? cell('th', text, 'col') : cell(index ? 'td' : 'th', text, index ? '' : 'row');
    node.classList.toggle('figure', figures[index]);
    row.append(node);
  });
  return row;
}

function show() {
  const {caption = '', columns = [], rows = [], note = '', empty = ''} = props.value || {};
  const width = Math.max(columns.length, ...rows.map((row) => row.length), 0);
  const figures = Array.from({length: width}, (_, index) => (
    index > 0 && rows.length > 0 && rows.every((row) => FIGURE.test(row[index] ?? ''))
  ));
  find('caption').textContent = caption;
  find('.scroller').setAttribute('aria-label', caption || columns[0] || rows[0]?.[0] || 'Table');
  find('thead').replaceChildren(...(columns.length ? [line(columns, figures, true)] : []));
  find('tbody').replaceChildren(...rows.map((row) => line(row, figures, false)));
  find('.scroller').hidden = !rows.length;
  find('.empty').textContent = empty;
  find('.empty').hidden = rows.length > 0 || !empty;
  find('.note').textContent = rows.length ? note : '';
  root.hidden = !rows.length && !empty;
  root.dataset.rows = String(rows.length);
}

watch('value', show);
show();
