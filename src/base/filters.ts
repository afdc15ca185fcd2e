import { InvalidError } from './errors.js';

/** `--filter key=value`, repeated: values of one key are alternatives, keys must all match. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/**
 * @param known the keys that this command has
 * @throws InvalidError on another key or a form other than key=value
 */
export function parseFilters(texts: readonly string[], known: readonly string[]): Filters {
  const out = new Map<string, string[]>();
  for (const text of texts) {
    const equals = text.indexOf('=');
    const key = (equals < 0 ? text : text.slice(0, equals)).trim().toLowerCase();
    if (equals < 0) throw new InvalidError(`invalid filter '${text}' (expected key=value)`);
    if (!known.includes(key) && !(key === 'label!' && known.includes('label'))) {
      throw new InvalidError(`invalid filter '${key}' (expected ${known.join(', ')})`);
    }
    const values = out.get(key);
    const value = text.slice(equals + 1).trim();
    if (values) values.push(value);
    else out.set(key, [value]);
  }
  return out;
}

/** True where the filter is absent or one of its values is accepted. */
export function matches(filters: Filters, key: string, accept: (value: string) => boolean): boolean {
  const values = filters.get(key);
  return values === undefined || values.some(accept);
}

/** `label=a` or `label=a=b`, all of which must hold; `label!=…` excludes. */
export function matchesLabels(filters: Filters, labels: Readonly<Record<string, string>>): boolean {
  const has = (wanted: string): boolean => {
    const equals = wanted.indexOf('=');
    const key = equals < 0 ? wanted : wanted.slice(0, equals);
    return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === wanted.slice(equals + 1));
  };
  return (filters.get('label') ?? []).every(has) && !(filters.get('label!') ?? []).some(has);
}

/** A boolean filter value. @throws InvalidError */
export function filterBoolean(filters: Filters, key: string): boolean | undefined {
  const values = filters.get(key);
  if (!values) return undefined;
  const value = values.at(-1)!.toLowerCase();
  if (['true', '1', 't'].includes(value)) return true;
  if (['false', '0', 'f'].includes(value)) return false;
  throw new InvalidError(`invalid filter '${key}=${value}' (expected true or false)`);
}
