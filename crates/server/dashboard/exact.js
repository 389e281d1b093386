// JSON whose numbers stay as they were written: what counts in 64 bits would be changed by being read and written back.

export function parse(text) {
  return JSON.parse(text, (_, value, context) => {
    if (typeof value !== 'number' || context?.source === undefined || String(value) === context.source) return value;
    return JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  });
}

export function print(value) {
  return value === undefined ? '' : JSON.stringify(value, null, 2);
}

/** On one line. */
export function line(value) {
  return value === undefined ? '' : JSON.stringify(value);
}

export function isSame(one, other) {
  return line(one) === line(other);
}

export function isMap(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON?.(value);
}
