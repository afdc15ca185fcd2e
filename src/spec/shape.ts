/**
 * Schemas of JSON documents: what a value must look like, the type that this gives it in TypeScript, and where a wrong one
 * is wrong. Every container's start judges a config.json; so a schema here is one small object and one closure, and all of
 * runtime-spec's are made in well under a millisecond.
 */

/** What is wrong, and where. The message says what was expected. */
export interface Fault {
  path: PropertyKey[];
  message: string;
}

/** One rule beyond the type: a message where the value breaks it. */
export type Check<T> = (value: T) => string | undefined;

type Parse<T> = (value: unknown, at: PropertyKey[], faults: Fault[]) => T;

/** What becomes of a value that broke a rule; the document is refused, so nobody sees it. */
const BROKEN = undefined as never;

export class Schema<T> {
  readonly parseAt: Parse<T>;

  constructor(parseAt: Parse<T>) {
    this.parseAt = parseAt;
  }

  /** The same schema with more rules; of several that are broken the first is told. */
  check(...checks: Check<T>[]): Schema<T> {
    return new Schema((value, at, faults) => {
      const before = faults.length;
      const out = this.parseAt(value, at, faults);
      if (faults.length > before) return out;
      for (const check of checks) {
        const message = check(out);
        if (message === undefined) continue;
        faults.push({ path: [...at], message });
        break;
      }
      return out;
    });
  }

  /** The same schema, its accepted values changed. */
  map<U>(change: (value: T) => U): Schema<U> {
    return new Schema((value, at, faults) => {
      const before = faults.length;
      const out = this.parseAt(value, at, faults);
      return faults.length > before ? BROKEN : change(out);
    });
  }

  /** The accepted value, or all faults. */
  parse(value: unknown): { value: T } | { faults: Fault[] } {
    const faults: Fault[] = [];
    const out = this.parseAt(value, [], faults);
    return faults.length > 0 ? { faults } : { value: out };
  }
}

/** A field that may be missing. */
export class OptionalSchema<T> extends Schema<T | undefined> {
  readonly optional = true;
}

/** An object with known fields, which `extend` can add to. */
export class ObjectSchema<S extends Fields, T> extends Schema<T> {
  readonly fields: S;

  constructor(fields: S, parseAt: Parse<T>) {
    super(parseAt);
    this.fields = fields;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the field's own type is taken from it by Output
type Fields = Record<string, Schema<any>>;
type OptionalKeys<S extends Fields> = {
  [K in keyof S]: S[K] extends { optional: true } ? K : never;
}[keyof S];
type Flat<T> = { [K in keyof T]: T[K] };
type ObjectOf<S extends Fields> = Flat<
  { [K in Exclude<keyof S, OptionalKeys<S>>]: Output<S[K]> } & {
    [K in OptionalKeys<S>]?: Output<S[K]>;
  }
>;

/** The type of the values that a schema accepts. */
export type Output<S> = S extends Schema<infer T> ? T : never;

/** A schema by its test: the message where the value isn't of that kind. */
export function kind<T>(expected: string, is: (value: unknown) => boolean): Schema<T> {
  return new Schema((value, at, faults) => {
    if (!is(value)) faults.push({ path: [...at], message: expected });
    return value as T;
  });
}

export const string = () => kind<string>('expected a string', (v) => typeof v === 'string');
export const boolean = () => kind<boolean>('expected a boolean', (v) => typeof v === 'boolean');
export const unknown = () => kind<unknown>('', () => true);

/** An integer within two bounds (inclusive); `expected` is said of whatever else comes. */
export function integer(
  minimum = Number.MIN_SAFE_INTEGER,
  maximum = Number.MAX_SAFE_INTEGER,
  expected?: string,
): Schema<number> {
  return kind<number>(expected ?? 'expected an integer', Number.isInteger).check(
    atLeast(minimum, expected),
    atMost(maximum, expected),
  );
}

export function oneOf<const T extends string | number>(values: readonly T[]): Schema<T> {
  const names = values.map((v) => JSON.stringify(v)).join(', ');
  return kind<T>(`expected ${values.length > 1 ? 'one of ' : ''}${names}`, (v) => values.includes(v as T));
}

export function array<T>(element: Schema<T>): Schema<T[]> {
  return new Schema((value, at, faults) => {
    if (!Array.isArray(value)) {
      faults.push({ path: [...at], message: 'expected an array' });
      return BROKEN;
    }
    return value.map((v, i) => within(element, v, i, at, faults));
  });
}

/** An object used as a map. */
export function record<T>(element: Schema<T>): Schema<Record<string, T>> {
  return new Schema((value, at, faults) => {
    const out: Record<string, T> = {};
    if (!isObject(value, at, faults)) return out;
    for (const key of Object.keys(value)) {
      // Assignment would set the prototype.
      if (key !== '__proto__') out[key] = within(element, value[key], key, at, faults);
    }
    return out;
  });
}

/** An object with these fields; others are dropped. */
export function object<S extends Fields>(fields: S): ObjectSchema<S, ObjectOf<S>> {
  return new ObjectSchema(fields, (value, at, faults) => {
    const out: Record<string, unknown> = {};
    if (isObject(value, at, faults)) known(fields, value, out, at, faults);
    return out as ObjectOf<S>;
  });
}

/** An object with these fields, that keeps others as they are. */
export function looseObject<S extends Fields>(
  fields: S,
): ObjectSchema<S, ObjectOf<S> & Record<string, unknown>> {
  return new ObjectSchema(fields, (value, at, faults) => {
    const out: Record<string, unknown> = {};
    if (isObject(value, at, faults)) {
      for (const key of Object.keys(value)) if (key !== '__proto__') out[key] = value[key];
      known(fields, value, out, at, faults);
    }
    return out as ObjectOf<S> & Record<string, unknown>;
  });
}

/** The fields of one schema, and those given; the latter win. Others are dropped. */
export function extend<A extends Fields, B extends Fields>(
  base: ObjectSchema<A, unknown>,
  fields: B,
): ObjectSchema<Omit<A, keyof B> & B, ObjectOf<Omit<A, keyof B> & B>> {
  return object({ ...base.fields, ...fields } as Omit<A, keyof B> & B);
}

/** A field that may be missing. */
export function optional<T>(schema: Schema<T>): OptionalSchema<T> {
  return new OptionalSchema((value, at, faults) =>
    value === undefined ? undefined : schema.parseAt(value, at, faults),
  );
}

/** A field that has a value where it is missing. */
export function defaulted<T>(schema: Schema<T>, value: T): Schema<T> {
  return new Schema((given, at, faults) => (given === undefined ? value : schema.parseAt(given, at, faults)));
}

export const refine =
  <T>(holds: (value: T) => boolean, expected: string): Check<T> =>
  (value) =>
    holds(value) ? undefined : expected;

export const matches = (pattern: RegExp, expected: string): Check<string> =>
  refine((text) => pattern.test(text), expected);

export const notEmpty = (value: string | unknown[]): string | undefined =>
  value.length > 0 ? undefined : `expected at least 1 ${typeof value === 'string' ? 'character' : 'element'}`;

export const atLeast = (minimum: number, expected = `expected at least ${minimum}`): Check<number> =>
  refine((n) => n >= minimum, expected);
export const atMost = (maximum: number, expected = `expected at most ${maximum}`): Check<number> =>
  refine((n) => n <= maximum, expected);

function isObject(value: unknown, at: PropertyKey[], faults: Fault[]): value is Record<string, unknown> {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return true;
  faults.push({ path: [...at], message: 'expected an object' });
  return false;
}

function known(
  fields: Fields,
  value: Record<string, unknown>,
  out: Record<string, unknown>,
  at: PropertyKey[],
  faults: Fault[],
): void {
  for (const key of Object.keys(fields)) {
    const given = Object.hasOwn(value, key) ? value[key] : undefined;
    const field = within(fields[key] as Schema<unknown>, given, key, at, faults);
    if (field !== undefined) out[key] = field;
  }
}

function within<T>(
  schema: Schema<T>,
  value: unknown,
  key: PropertyKey,
  at: PropertyKey[],
  faults: Fault[],
): T {
  at.push(key);
  const out = schema.parseAt(value, at, faults);
  at.pop();
  return out;
}
