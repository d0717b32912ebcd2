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

function show() {
  const groups = (props.value || {}).groups || [];
  open = Math.min(open, Math.max(0, groups.length - 1));
  find('.groups').replaceChildren(...groups.map((group, index) => {
    const node = button('group', group.name, () => { open = index; show(); });
    node.setAttribute('role', 'tab');
    node.setAttribute('aria-selected', String(index === open));
    return node;
  }));
  const texts = groups[open]?.texts || [];
  find('.texts').replaceChildren(...texts.map((text) => button('text', text, () => trigger('picked', {text}))));
}

watch('value', show);
show();
