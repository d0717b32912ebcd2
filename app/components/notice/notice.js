const find = (selector) => element.querySelector(selector);
const root = find('.notice');

function show() {
  const {tone = 'info', title = '', lines = []} = props.value || {};
  find('.title').textContent = title;
  find('.lines').replaceChildren(...lines.map((line) => {
    const node = document.createElement('p');
    node.textContent = line;
    return node;
  }));
  root.dataset.tone = tone;
  root.hidden = !title && !lines.length;
}

watch('value', show);
show();
