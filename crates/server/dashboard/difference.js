// Versions of one entity side by side, field by field.

import { isMap, isSame, line } from './exact.js';

/** The row of a value that has no fields. */
export const WHOLE = '(value)';

/**
 * One row for each field that some version has: `{field, cells, differs}`. A cell is `undefined` where the version does not have
 * the field. Values that are no maps are one row.
 */
export function rowsOf(versions) {
  const values = versions.map((version) => version.value);
  if (!values.every((value) => value === undefined || isMap(value))) return [row(WHOLE, values)];
  const fields = new Set(values.flatMap((value) => Object.keys(value ?? {})));
  return [...fields].sort().map((field) => row(field, values.map((value) => own(value, field))));
}

/** The value whose fields were picked: `picks` has the number of a version for each row. */
export function pickedValue(rows, picks) {
  if (rows.length === 1 && rows[0].field === WHOLE) return rows[0].cells[picks[0]];
  const picked = rows.map(({ field, cells }, index) => [field, cells[picks[index]]]);
  return Object.fromEntries(picked.filter(([, value]) => value !== undefined));
}

/** The first version that has the field. */
export function firstPicks(rows) {
  return rows.map(({ cells }) => Math.max(0, cells.findIndex((cell) => cell !== undefined)));
}

export function shownCell(cell) {
  return cell === undefined ? '–' : line(cell);
}

function row(field, cells) {
  return { field, cells, differs: cells.some((cell) => !isSame(cell, cells[0])) };
}

function own(value, field) {
  return value !== undefined && Object.hasOwn(value, field) ? value[field] : undefined;
}
