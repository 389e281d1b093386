// Elements, made from data. Text is only ever set as text, so that nothing that is stored can become markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An HTML element: attributes, `on...` listeners, and children that are elements or text. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Puts these in the place of all that an element holds. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat().filter(isShown));
}

/** Sets a text, unless it stands there already: what is read aloud is not read again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter(isShown));
  return element;
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}
