const find = (selector) => element.querySelector(selector);
let open = 0;

function button(className, text, onClick) {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = className;
  node.textContent = text;
  node.addEventListener('click', onClick);
  return node;
}

function add(text) {
  const box = element.getRootNode().querySelector(`#${(props.value || {}).into} textarea`);
  if (!box) return;
  const lines = box.value.split('\n').map((line) => line.trim()).filter(Boolean);
  box.value = [...lines, text].join('\n');
  box.dispatchEvent(new Event('input', {bubbles: true}));
}

function show() {
  const groups = (props.value || {}).groups || [];
  open = Math.min(open, Math.max(0, groups.length - 1));
  find('.groups').replaceChildren(...groups.map((group, index) => {
    const node = button('group', group.name, () => choose(index));
    node.setAttribute('aria-pressed', String(index === open));
    return node;
  }));
  const texts = groups[open]?.texts || [];
  find('.texts').replaceChildren(...texts.map((text) => button('text', text, () => add(text))));
}

function choose(index) {
  open = index;
  show();
  find('.groups').children[index].focus();
}

watch('value', show);
show();
